//! G3: how hits on one key scale from one thread to two, beside services that share nothing.

use std::{
    hint::spin_loop,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
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
    timing::{stopwatch, time_all},
};

const GOAL: f64 = 0.95;
/// Pairs of one thread and two, of each contender.
const ROUNDS: usize = 31;
/// With fewer of them, nothing is said.
const LEAST_ROUNDS: usize = 15;
/// Batches that each thread serves in a round.
const BATCHES: usize = 120;
/// Requests in one: long enough that two threads, which begin it together, are at it together.
const BATCH: usize = 512;
/// Of a batch's time, what the other thread has to have been at its own for.
const SHARED: f64 = 0.75;

pub(crate) fn report(effort: Effort) {
    let setting = Setting::prepare();
    let layer = TokenAuthLayer::new(setting.auth.clone()).layer(Bare);
    let rival = by_hand(setting.store.clone()).layer(Bare);
    let batches = if effort == Effort::Smoke { 3 } else { BATCHES };
    let mut rates = [const { [const { Vec::new() }; 2] }; 3];
    let (rounds, mut alone) = (effort.rounds(ROUNDS), 0);
    for round in 0..rounds {
        let mut measured = [[None; 2]; 3];
        for place in 0..measured.len() {
            let at = (round + place) % measured.len();
            for threads in if round % 2 == 0 { [1, 2] } else { [2, 1] } {
                measured[at][threads - 1] = match at {
                    0 => rate(&Bare, &setting, threads, batches),
                    1 => rate(&layer, &setting, threads, batches),
                    _ => rate(&rival, &setting, threads, batches),
                };
            }
        }
        let [Some(bare), Some(layered), Some(by_hand)] = measured.map(|[one, two]| one.zip(two))
        else {
            alone += 1;
            continue;
        };
        for (rates, (one, two)) in rates.iter_mut().zip([bare, layered, by_hand]) {
            rates[0].push(one);
            rates[1].push(two);
        }
    }
    let pairs = rates[0][0].len();
    if pairs < if effort == Effort::Smoke { 1 } else { LEAST_ROUNDS } {
        println!("    G3 is not measured: {pairs} rounds are too few");
        return;
    }
    let scaling = rates.each_ref().map(|[one, two]| {
        let scaling = two.iter().zip(one).map(|(two, one)| two / one);
        scaling.collect::<Vec<f64>>()
    });
    let [bare, layered, by_hand] = &scaling;
    let ratio = median_of_ratios(layered, bare);
    print("G3", ratio, &format!(">= {GOAL:.2}"), ratio.value >= GOAL, 2);
    if alone > 0 {
        println!("    {alone} of {rounds} rounds are left out: the threads never had both cores");
    }
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
/// the service, as a server's connections have; `None` if the threads were never at it together.
///
/// Batches are made apart, begun together, and timed each by itself. Only those count during which every
/// thread was at it, and of their times the median: what the system took a thread from its core for is no
/// matter of the service.
fn rate<S, B>(service: &S, setting: &Setting, threads: usize, batches: usize) -> Option<f64>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send,
    S::Error: std::fmt::Debug,
{
    let start = Start { threads, arrived: AtomicUsize::new(0) };
    let served: Vec<Vec<Batch>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (service, start) = (service.clone(), &start);
                scope.spawn(move || serve(service, setting, batches, start))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no thread panics")).collect()
    });
    let together: Vec<usize> = (0..batches)
        .filter(|at| {
            let begun = served.iter().map(|batches| batches[*at].begun).max();
            let ended = served.iter().map(|batches| batches[*at].ended).min();
            let (Some(begun), Some(ended)) = (begun, ended) else { return false };
            let shared = ended.saturating_duration_since(begun);
            served.iter().all(|batches| {
                let Batch { begun, ended, .. } = batches[*at];
                shared.as_secs_f64() >= SHARED * (ended - begun).as_secs_f64()
            })
        })
        .collect();
    if together.is_empty() {
        return None;
    }
    let rate_of = |batches: &Vec<Batch>| {
        let mut times: Vec<f64> = together.iter().map(|at| batches[*at].nanos).collect();
        1e9 / median(&mut times)
    };
    Some(served.iter().map(rate_of).sum())
}

/// When a thread was at a batch, and what a request of it took.
struct Batch {
    begun: Instant,
    ended: Instant,
    nanos: f64,
}

fn serve<S, B>(mut service: S, setting: &Setting, batches: usize, start: &Start) -> Vec<Batch>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
{
    let _inside = setting.runtime.enter();
    let template = request(EXPIRING);
    let requests = || (0..BATCH).map(|_| template.clone()).collect();
    // So that the key is known, and the thread's memory its own.
    time_all(&mut service, requests());
    (0..batches)
        .map(|batch| {
            let requests = requests();
            start.wait(batch);
            let begun = stopwatch();
            let nanos = time_all(&mut service, requests);
            Batch { begun, ended: stopwatch(), nanos }
        })
        .collect()
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
            // Where another program has the other core, the other thread needs this one; but who gives a
            // core away is not back for milliseconds, and so not at it together with anybody.
            if turns.is_multiple_of(100_000) { thread::yield_now() } else { spin_loop() }
        }
    }
}
