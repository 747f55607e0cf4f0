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
    let requests_in_span = |contender| (SPAN / time(contender, 1, 2_000, handle)) as usize;
    let requests: Vec<_> = contenders.iter().map(requests_in_span).collect();
    for round in 0..effort.rounds(ROUNDS) {
        for place in 0..contenders.len() {
            let at = (round + place) % contenders.len();
            by_one[at].push(time(&contenders[at], 1, requests[at], handle));
            by_two[at].push(time(&contenders[at], 2, requests[at], handle));
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
    table.finish()
}

/// How often threads are set off again that did not run at the same time, as they may not on a machine that
/// is busy: one behind the other, they would never meet.
const ATTEMPTS: u32 = 100;

/// Nanoseconds that one request takes, as the mean of all threads.
fn time(contender: &Contender, threads: usize, requests: usize, runtime: &Handle) -> f64 {
    for _ in 0..ATTEMPTS {
        let spans = spans(contender, threads, requests, runtime);
        let begun = |at: fn(_, _) -> _| spans.iter().map(|span| span.start).reduce(at);
        let ended = |at: fn(_, _) -> _| spans.iter().map(|span| span.end).reduce(at);
        let any = ended(Instant::max).zip(begun(Instant::min));
        let all = ended(Instant::min).zip(begun(Instant::max));
        let length = |span: Option<(Instant, Instant)>| {
            span.map_or(Duration::ZERO, |(end, begin)| end.saturating_duration_since(begin))
        };
        if length(all).as_secs_f64() > 0.9 * length(any).as_secs_f64() {
            let total: Duration = spans.iter().map(|span| span.end - span.start).sum();
            return total.as_nanos() as f64 / (threads * requests) as f64;
        }
    }
    panic!("{threads} threads never ran at the same time: the machine is too busy to measure");
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
