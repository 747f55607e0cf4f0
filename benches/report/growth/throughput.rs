//! By threads: decisions a second of one thread and of two, on one key, on a thousand, and with misses.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use futures_util::future::join_all;
use tokio::{runtime::Builder, task::yield_now};
use tower_token_auth::Authenticator;

use crate::{
    Effort,
    everything::{Cached, token},
    statistics::{Random, median},
    timing::stopwatch,
};

const ROUNDS: usize = 11;
/// Decisions of each thread in a round.
const DECISIONS: usize = 200_000;
/// Requests under way at once on each thread, so that one that waits for the store holds up no other.
const CLIENTS: usize = 32;
/// Decisions of a client before others have their turn.
const TURN: usize = 50;
const KEYS: usize = 1_000;

/// What the keys of the decisions are: of so many, and one in a hundred that was never read.
struct Mix {
    name: &'static str,
    keys: usize,
    has_cold_ones: bool,
}

const MIXES: [Mix; 3] = [
    Mix { name: "one key", keys: 1, has_cold_ones: false },
    Mix { name: "1000 keys", keys: KEYS, has_cold_ones: false },
    Mix { name: "1000 keys, 1 % cold ones", keys: KEYS, has_cold_ones: true },
];

pub(super) fn report(effort: Effort) {
    let decisions = if effort == Effort::Smoke { 3_200 } else { DECISIONS };
    let cached = Cached::with_capacity(KEYS, 100_000);
    let never_read = AtomicUsize::new(KEYS);
    let mut rates = [const { [const { Vec::new() }; 2] }; 3];
    for _ in 0..effort.rounds(ROUNDS) {
        for (mix, rates) in MIXES.iter().zip(&mut rates) {
            for threads in [1, 2] {
                rates[threads - 1].push(rate(&cached.auth, mix, threads, decisions, &never_read));
            }
        }
    }
    for (mix, [one, two]) in MIXES.iter().zip(&mut rates) {
        let (one, two) = (median(one) / 1e6, median(two) / 1e6);
        println!(
            "    {:<26} {one:>6.2} M decisions a second by one thread, {two:>6.2} M by two, x {:.2}",
            mix.name,
            two / one
        );
    }
}

/// Decisions a second of so many threads together.
fn rate(
    auth: &Authenticator,
    mix: &Mix,
    threads: usize,
    decisions: usize,
    never_read: &AtomicUsize,
) -> f64 {
    let start = Barrier::new(threads);
    let work = |number: usize| {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let mut random = Random(number as u64);
        // Made before, as a request brings its token along.
        let tokens: Vec<_> = (0..decisions)
            .map(|at| match at % 100 {
                99 if mix.has_cold_ones => token(never_read.fetch_add(1, Ordering::Relaxed)),
                _ => token(random.below(mix.keys)),
            })
            .collect();
        runtime.block_on(async {
            // Long enough that the thread's own table has become as large as it needs to be.
            for number in (0..decisions).map(|_| random.below(mix.keys)) {
                auth.authenticate(&token(number)).await.expect("every key is good");
            }
            start.wait();
            let begun = stopwatch();
            let clients = tokens.chunks(decisions / CLIENTS).map(|tokens| async move {
                for turn in tokens.chunks(TURN) {
                    for token in turn {
                        auth.authenticate(token).await.expect("every key is good");
                    }
                    yield_now().await;
                }
            });
            join_all(clients).await;
            decisions as f64 / begun.elapsed().as_secs_f64()
        })
    };
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|number| scope.spawn(move || work(number))).collect();
        workers.into_iter().map(|worker| worker.join().expect("no thread panics")).sum()
    })
}
