//! G3: how hits on one key scale from one thread to two, beside services that share nothing.

use std::{
    hint::spin_loop,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use http::{Request, Response};
use tower::{Layer as _, Service};
use tower_token_auth::TokenAuthLayer;

use crate::{
    Effort,
    contenders::{Bare, Body, by_hand},
    print,
    setting::{EXPIRING, Setting, request},
    statistics::{Estimate, median, median_of_ratios},
    timing::time_all,
};

const GOAL: f64 = 0.95;
/// Pairs of one thread and two, of each contender.
const ROUNDS: usize = 31;
/// Batches that each thread serves in a round.
const BATCHES: usize = 120;
/// Requests in one: long enough that two threads, which begin it together, are at it together.
const BATCH: usize = 512;

pub(crate) fn report(effort: Effort) {
    let setting = Setting::prepare();
    let layer = TokenAuthLayer::new(setting.auth.clone()).layer(Bare);
    let rival = by_hand(setting.store.clone()).layer(Bare);
    let batches = if effort == Effort::Smoke { 3 } else { BATCHES };
    let mut rates = [const { [const { Vec::new() }; 2] }; 3];
    for round in 0..effort.rounds(ROUNDS) {
        for place in 0..rates.len() {
            let at = (round + place) % rates.len();
            for threads in if round % 2 == 0 { [1, 2] } else { [2, 1] } {
                rates[at][threads - 1].push(match at {
                    0 => rate(&Bare, &setting, threads, batches),
                    1 => rate(&layer, &setting, threads, batches),
                    _ => rate(&rival, &setting, threads, batches),
                });
            }
        }
    }
    let scaling = rates.each_ref().map(|[one, two]| {
        let scaling = two.iter().zip(one).map(|(two, one)| two / one);
        scaling.collect::<Vec<f64>>()
    });
    let [bare, layered, by_hand] = &scaling;
    let ratio = median_of_ratios(layered, bare);
    print("G3", ratio, &format!(">= {GOAL:.2}"), ratio.value >= GOAL, 2);
    let names = ["the bare service", "the layer", "the hand-written layer"];
    for ((name, scaling), [one, two]) in names.iter().zip(&scaling).zip(&mut rates) {
        println!(
            "    {name:<24} x {:.2} of {:>5.2} M requests a second by one thread, {:>5.2} M by two",
            median(&mut scaling.clone()),
            median(one) / 1e6,
            median(two) / 1e6,
        );
    }
    let Estimate { value, low, high } = median_of_ratios(by_hand, bare);
    println!(
        "    the hand-written layer's share of the bare scaling: {value:.2} [{low:.2}, {high:.2}]"
    );
}

/// Requests a second that so many threads serve, all with the same key and each with its own clone of
/// the service, as a server's connections have.
///
/// Batches are made apart, begun together, and timed each by itself. Of their times the median counts:
/// what the system took a thread from its core for is no matter of the service.
fn rate<S, B>(service: &S, setting: &Setting, threads: usize, batches: usize) -> f64
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send,
    S::Error: std::fmt::Debug,
{
    let start = Start { threads, arrived: AtomicUsize::new(0) };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (mut service, start, template) = (service.clone(), &start, request(EXPIRING));
                let handle = setting.runtime.handle();
                scope.spawn(move || {
                    let _inside = handle.enter();
                    let requests = || (0..BATCH).map(|_| template.clone()).collect();
                    // So that the key is known, and the thread's memory its own.
                    time_all(&mut service, requests());
                    let mut times: Vec<f64> = (0..batches)
                        .map(|batch| {
                            let requests = requests();
                            start.wait(batch);
                            time_all(&mut service, requests)
                        })
                        .collect();
                    1e9 / median(&mut times)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no thread panics")).sum()
    })
}

/// Where threads wait for each other before every batch: awake, so that they begin at one time.
struct Start {
    threads: usize,
    arrived: AtomicUsize,
}

impl Start {
    fn wait(&self, batch: usize) {
        // SeqCst: nothing here is timed.
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let mut turns = 0_u32;
        while self.arrived.load(Ordering::SeqCst) < (batch + 1) * self.threads {
            turns += 1;
            // Where another program has the other core, the other thread needs this one.
            if turns.is_multiple_of(1_000) { thread::yield_now() } else { spin_loop() }
        }
    }
}
