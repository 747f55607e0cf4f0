//! Two threads with one key: what a contender adds to a request then, and how much of a second thread is
//! had of it.
//!
//! A request is made inside what is timed, as both threads would otherwise not be at it all the time;
//! what that takes is in the bare service's figure as well, and so not in what is added.

use std::{
    hint::spin_loop,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use crate::{
    Effort,
    contender::Contender,
    in_process::{alone, minus},
    setting::Setting,
    statistics::ratio_of_medians,
    table::{Table, interval},
};

/// Nanoseconds of a thread's work in a round: less than a scheduler's slice, and the same for all, as what
/// takes longer is interrupted more often.
const SPAN: f64 = 3e6;
const ROUNDS: usize = 201;

pub(crate) fn report(setting: &Setting, contenders: &[Contender], effort: Effort) -> String {
    let (mut by_one, mut by_two) =
        (vec![Vec::new(); contenders.len()], vec![Vec::new(); contenders.len()]);
    let handle = setting.runtime.handle();
    let requests_in_span = |contender| (SPAN / time(contender, 1, 2_000, handle).0) as usize;
    let requests: Vec<_> = contenders.iter().map(requests_in_span).collect();
    let mut apart = 0;
    for round in 0..effort.rounds(ROUNDS) {
        for place in 0..contenders.len() {
            let at = (round + place) % contenders.len();
            by_one[at].push(time(&contenders[at], 1, requests[at], handle).0);
            let (by_each, together) = time(&contenders[at], 2, requests[at], handle);
            by_two[at].push(by_each);
            apart += usize::from(together < TOGETHER);
        }
    }
    let mut table = Table::new(
        "In process, two threads, one key",
        &["", "adds alone, ns", "adds beside another, ns", "two threads do, times one"],
    );
    for (at, contender) in contenders.iter().enumerate() {
        let doubled: Vec<_> = by_one[at].iter().map(|time| time * 2.0).collect();
        let scaling = interval(ratio_of_medians(&doubled, &by_two[at]), 2);
        let added = |times: &[Vec<f64>]| match at {
            0 => format!("({:.0} in all)", alone(&times[0]).value),
            _ => interval(alone(&minus(&times[at], &times[0])), 0),
        };
        table.row(&[contender.name, &added(&by_one), &added(&by_two), &scaling]);
    }
    let times = by_two.iter().map(Vec::len).sum::<usize>();
    format!(
        "{}\n{apart} of {times} times, two threads were not at it together even after {ATTEMPTS} starts.\n",
        table.finish()
    )
}

/// How much of their time threads have to be at it together. On a machine that is busy they may run one
/// behind the other, and never meet.
const TOGETHER: f64 = 0.8;
/// How often they are set off again until they are; after that, the best time counts.
const ATTEMPTS: u32 = 20;

/// Nanoseconds that one request takes, as the mean of all threads, and how much of the time they were at it
/// together.
fn time(contender: &Contender, threads: usize, requests: usize, runtime: &Handle) -> (f64, f64) {
    let mut best = (f64::NAN, -1.0);
    for _ in 0..ATTEMPTS {
        let spans = spans(contender, threads, requests, runtime);
        let total: Duration = spans.iter().map(|span| span.end - span.start).sum();
        let together = together(&spans);
        if together > best.1 {
            best = (total.as_nanos() as f64 / (threads * requests) as f64, together);
        }
        if together >= TOGETHER {
            break;
        }
    }
    best
}

/// The share of the time from the first start to the last end in which all were at it.
fn together(spans: &[Range<Instant>]) -> f64 {
    let starts = || spans.iter().map(|span| span.start);
    let ends = || spans.iter().map(|span| span.end);
    let length = |end: Option<Instant>, start: Option<Instant>| {
        end.zip(start).map_or(Duration::ZERO, |(end, start)| end.saturating_duration_since(start))
    };
    let all = length(ends().min(), starts().max());
    all.as_secs_f64() / length(ends().max(), starts().min()).as_secs_f64()
}

fn spans(
    contender: &Contender,
    threads: usize,
    requests: usize,
    runtime: &Handle,
) -> Vec<Range<Instant>> {
    // They begin together, without being woken up for it.
    let missing = AtomicUsize::new(threads);
    let start = || {
        missing.fetch_sub(1, Ordering::AcqRel);
        while missing.load(Ordering::Acquire) > 0 {
            spin_loop();
        }
    };
    let run = || {
        let _inside = runtime.enter();
        contender.service.repeat(&contender.request(), requests, &start)
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })
}
