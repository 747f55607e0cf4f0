//! G8's other part: what the tables take that threads have by themselves, of one thread and of many.

use std::{
    sync::Barrier,
    thread::{self, Scope, ScopedJoinHandle},
};

use counting_allocator::growth_of;
use futures_util::FutureExt as _;

use crate::{
    Effort,
    everything::{Cached, token},
};

const KIB: f64 = 1024.0;
/// More than fit into one thread's table, so that it fills.
const KEYS: usize = 50_000;
const THREADS: usize = 512;
const FEW: usize = 8;
const MANY: usize = 5_000;

pub(crate) fn report(effort: Effort) {
    let smoke = effort == Effort::Smoke;
    let (keys, threads) = if smoke { (2_000, 8) } else { (KEYS, THREADS) };
    let cached = Cached::new(keys);
    let full = grown(&cached, 1, keys);
    println!("    fronts: one thread's, after {keys} keys met: {:.0} KiB", full.meanwhile / KIB);
    for met in [FEW, MANY.min(keys)] {
        let grown = grown(&cached, threads, met);
        println!(
            "    fronts: {threads} threads that met {met} keys each: {:.0} KiB, {:.1} for each thread; \
             {:.0} KiB given back as they end",
            grown.meanwhile / KIB,
            grown.meanwhile / KIB / threads as f64,
            grown.given_back / KIB,
        );
    }
}

/// Bytes by which the memory of the whole process grew.
struct Grown {
    meanwhile: f64,
    given_back: f64,
}

/// What threads take that meet keys of the cache. Their stacks come from the system, and are not counted.
fn grown(cached: &Cached, threads: usize, keys: usize) -> Grown {
    let (have_met, may_end) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    // They are there before they are weighed: a thread's own administration is none of ours.
    let may_begin = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let start = |first| start(scope, cached, first, keys, [&may_begin, &have_met, &may_end]);
        let workers: Vec<_> = (0..threads).map(|thread| start(thread * keys)).collect();
        let ((), meanwhile) = growth_of(|| {
            may_begin.wait();
            have_met.wait();
        });
        // With what the system kept of each thread, which was there before.
        let ((), end) = growth_of(|| {
            may_end.wait();
            for worker in workers {
                worker.join().expect("no thread panics");
            }
        });
        Grown { meanwhile: meanwhile.kept as f64, given_back: -end.kept as f64 }
    })
}

/// A thread that meets `keys` keys often enough to know them.
fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    cached: &'scope Cached,
    first: usize,
    keys: usize,
    [may_begin, have_met, may_end]: [&'scope Barrier; 3],
) -> ScopedJoinHandle<'scope, ()> {
    scope.spawn(move || {
        may_begin.wait();
        for number in first..first + keys {
            let token = token(number % cached.keys);
            for _ in 0..3 {
                let admitted = cached.auth.authenticate(&token).now_or_never();
                admitted.expect("a hit waits for nothing").expect("every key is good");
            }
        }
        have_met.wait();
        may_end.wait();
    })
}
