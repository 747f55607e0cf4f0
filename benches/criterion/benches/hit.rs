//! A request whose key is cached: the bare service, the layer, and the hand-written layer.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tower::Layer as _;
use tower_token_auth::TokenAuthLayer;
use tower_token_auth_criterion::{Bare, EXPIRING, Setting, by_hand, drive, request};

fn hit(criterion: &mut Criterion) {
    let setting = Setting::prepare();
    let _inside = setting.runtime.enter();
    let mut layer = TokenAuthLayer::new(setting.auth.clone()).layer(Bare);
    let mut rival = by_hand(setting.store.clone()).layer(Bare);
    let template = request(EXPIRING);
    let mut group = criterion.benchmark_group("hit");
    group.bench_function("bare", |bencher| {
        let made = || template.clone();
        bencher.iter_batched(made, |request| drive(&mut Bare, request), BatchSize::SmallInput);
    });
    group.bench_function("layer", |bencher| {
        let made = || template.clone();
        bencher.iter_batched(made, |request| drive(&mut layer, request), BatchSize::SmallInput);
    });
    group.bench_function("by hand", |bencher| {
        let made = || template.clone();
        bencher.iter_batched(made, |request| drive(&mut rival, request), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, hit);
criterion_main!(benches);
