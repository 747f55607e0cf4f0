//! By keys: a hit's latency, memory, a revocation and a flush with a hundred keys, ten thousand, a million.

use std::hint::black_box;

use counting_allocator::growth_of;
use futures_util::FutureExt as _;
use tower::Layer as _;
use tower_token_auth::{KeyId, Subject, TokenAuthLayer};

use crate::{
    Effort,
    contenders::Bare,
    everything::{Cached, token},
    setting::request,
    statistics::{Random, median},
    timing::{BATCH, minus, time, time_all, time_calls},
    uniform::drawn,
};

const SIZES: [usize; 3] = [100, 10_000, 1_000_000];
const ROUNDS: usize = 1_000;

/// What is measured of every size, each series a nanosecond count by round.
#[derive(Default)]
struct Series {
    bare: Vec<f64>,
    hot: Vec<f64>,
    uniform: Vec<f64>,
    revocation: Vec<f64>,
    same_revocation: Vec<f64>,
    behind_it: Vec<f64>,
    flush: Vec<f64>,
    read_again: Vec<f64>,
}

pub(super) fn report(effort: Effort) {
    println!(
        "    {:>9} {:>8} {:>8} {:>10} {:>10} {:>10} {:>11} {:>8} {:>11}",
        "keys",
        "hot",
        "uniform",
        "bytes/key",
        "MiB",
        "revocation",
        "hit behind",
        "flush",
        "read again"
    );
    let sizes = if effort == Effort::Smoke { [100, 1_000, 2_000] } else { SIZES };
    for keys in sizes {
        let (cached, growth) = growth_of(|| Cached::new(keys));
        let series = measure(&cached, effort.rounds(ROUNDS));
        let Series { bare, hot, uniform, mut revocation, same_revocation, behind_it, .. } = series;
        let (mut flush, mut read_again) = (series.flush, series.read_again);
        let mut behind = minus(&behind_it, &same_revocation);
        println!(
            "    {keys:>9} {:>8.1} {:>8.1} {:>10.0} {:>10.1} {:>10.1} {:>11.1} {:>8.1} {:>11.0}",
            median(&mut minus(&hot, &bare)),
            median(&mut minus(&uniform, &bare)),
            growth.kept as f64 / keys as f64,
            growth.kept as f64 / f64::from(1 << 20),
            median(&mut revocation),
            median(&mut behind),
            median(&mut flush),
            median(&mut read_again),
        );
    }
    println!(
        "    nanoseconds. hot, uniform: what the layer adds for one key again and again, or any of them;"
    );
    println!(
        "    hit behind: of a known key, each behind the revocation of another one; read again: a key's"
    );
    println!(
        "    first request behind a flush, with a store that answers at once. 100 keys: with the stamps"
    );
}

fn measure(cached: &Cached, rounds: usize) -> Series {
    let _inside = cached.runtime.enter();
    let mut layer = TokenAuthLayer::new(cached.auth.clone()).layer(Bare);
    let mut random = Random(0x96);
    let mut series = Series::default();
    let hot = request(&token(1));
    for _ in 0..rounds {
        series.bare.push(time(&mut Bare, &hot));
        series.hot.push(time(&mut layer, &hot));
        series.uniform.push(time_all(&mut layer, drawn(&mut random, cached.keys)));
    }
    let hot = token(1);
    for _ in 0..rounds {
        // No key has these ids, so that nothing need be read again; a stamp costs the same.
        let strangers: Vec<_> = (0..BATCH).map(|_| Subject::Key(KeyId::random())).collect();
        series.revocation.push(time_calls(BATCH, |at| cached.auth.revoke(&strangers[at])));
        // What shared a stamp with one of them is read again before this is timed.
        cached.runtime.block_on(cached.auth.authenticate(&hot)).expect("every key is good");
        let lone = Subject::Key(KeyId::random());
        cached.runtime.block_on(async {
            cached.auth.revoke(&lone);
            for _ in 0..3 {
                cached.auth.authenticate(&hot).await.expect("every key is good");
            }
        });
        series.same_revocation.push(time_calls(BATCH, |_| cached.auth.revoke(&lone)));
        series.behind_it.push(time_calls(BATCH, |_| {
            cached.auth.revoke(&lone);
            black_box(cached.auth.authenticate(&hot).now_or_never());
        }));
    }
    for round in 0..rounds.min(100) {
        series.flush.push(time_calls(BATCH, |_| cached.auth.flush()));
        let tokens: Vec<_> =
            (0..BATCH).map(|at| token((round * BATCH + at) % cached.keys)).collect();
        cached.runtime.block_on(async {
            cached.auth.flush();
            let fresh = BATCH.min(cached.keys);
            let before = crate::timing::stopwatch();
            for token in &tokens[..fresh] {
                cached.auth.authenticate(token).await.expect("every key is good");
            }
            series.read_again.push(before.elapsed().as_nanos() as f64 / fresh as f64);
        });
    }
    series
}
