//! A request that has to ask the store, which is in memory: what the flight itself costs.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tower::{Layer as _, ServiceExt};
use tower_token_auth::TokenAuthLayer;
use tower_token_auth_criterion::{Bare, EXPIRING, Setting, request};

fn miss(criterion: &mut Criterion) {
    let setting = Setting::prepare();
    let service = TokenAuthLayer::new(setting.auth.clone()).layer(Bare);
    let known = request(EXPIRING);
    let mut group = criterion.benchmark_group("miss");
    group.bench_function("known key after a flush", |bencher| {
        let made = || {
            setting.auth.flush();
            (service.clone(), known.clone())
        };
        let answered = |(service, request): (_, _)| {
            setting.runtime.block_on(ServiceExt::oneshot(service, request))
        };
        // One at a time: a flush outdates the answers of a whole batch.
        bencher.iter_batched(made, answered, BatchSize::PerIteration);
    });
    let mut guess = 0_u64;
    group.bench_function("unknown token", |bencher| {
        let made = || {
            guess += 1;
            (service.clone(), request(&format!("{guess:064x}")))
        };
        let answered = |(service, request): (_, _)| {
            setting.runtime.block_on(ServiceExt::oneshot(service, request))
        };
        bencher.iter_batched(made, answered, BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, miss);
criterion_main!(benches);
