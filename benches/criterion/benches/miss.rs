//! A request that has to ask the store, which is in memory: what the flight itself costs.

#[path = "../../report/contenders.rs"]
#[allow(dead_code, reason = "each benchmark takes some of what the report has")]
mod contenders;
#[path = "../../report/setting.rs"]
#[allow(dead_code, reason = "each benchmark takes some of what the report has")]
mod setting;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::Request;
use tower::{Layer as _, ServiceExt as _};
use tower_token_auth::{TokenAuth, TokenAuthLayer};

use crate::{
    contenders::{Bare, Body},
    setting::{EXPIRING, Setting, request},
};

type Layered = TokenAuth<Bare>;

async fn answer(service: Layered, request: Request<Body>) {
    service.oneshot(request).await.expect("nothing fails here");
}

fn miss(criterion: &mut Criterion) {
    let setting = Setting::new();
    let service = TokenAuthLayer::new(setting.auth.clone()).layer(Bare);
    let known = request(EXPIRING);
    let mut group = criterion.benchmark_group("miss");
    group.bench_function("known key after a flush", |bencher| {
        let made = || {
            setting.auth.flush();
            (service.clone(), known.clone())
        };
        let answered =
            |(service, request): (Layered, _)| setting.runtime.block_on(answer(service, request));
        // One at a time: a flush outdates the answers of a whole batch.
        bencher.iter_batched(made, answered, BatchSize::PerIteration);
    });
    let mut guess = 0_u64;
    group.bench_function("unknown token", |bencher| {
        let made = || {
            guess += 1;
            (service.clone(), request(&format!("{guess:064x}")))
        };
        let answered =
            |(service, request): (Layered, _)| setting.runtime.block_on(answer(service, request));
        bencher.iter_batched(made, answered, BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, miss);
criterion_main!(benches);
