//! What each contender adds to a request in process, and what that is in multiples of what ours adds.

use axum::body::Body;
use http::Request;

use crate::{
    Effort,
    contender::{Contender, copy},
    setting::Setting,
    statistics::{Estimate, ratio_of_medians},
    table::{Table, interval},
};

/// Requests in one timed batch: some hundred microseconds, so that reading the clock is no matter.
const BATCH: usize = 256;
const ROUNDS: usize = 4_000;

pub(crate) fn report(_: &Setting, contenders: &[Contender], effort: Effort) -> String {
    let templates: Vec<_> = contenders.iter().map(Contender::request).collect();
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..effort.rounds(ROUNDS) {
        // Each contender takes each place in turn: none always runs behind the same one.
        for place in 0..contenders.len() {
            let at = (round + place) % contenders.len();
            times[at].push(time(&contenders[at], &templates[at]));
        }
    }
    let costs: Vec<_> = times.iter().map(|each| minus(each, &times[0])).collect();
    let ours = costs.last().expect("ours is among them");
    let mut table = Table::new(
        "In process, one thread, one key",
        &["", "adds to a request, ns", "times what ours adds"],
    );
    let bare = alone(&times[0]).value;
    table.row(&[contenders[0].name, &format!("({bare:.0} in all)"), "–"]);
    for (contender, cost) in contenders.iter().zip(&costs).skip(1) {
        let ratio = ratio_of_medians(cost, ours);
        table.row(&[contender.name, &interval(alone(cost), 0), &interval(ratio, 2)]);
    }
    table.finish()
}

/// Nanoseconds that one request takes.
fn time(contender: &Contender, template: &Request<Body>) -> f64 {
    let requests = (0..BATCH).map(|_| copy(template)).collect();
    contender.service.batch(requests).as_nanos() as f64 / BATCH as f64
}

/// What is beyond the bare service, round by round.
pub(crate) fn minus(through: &[f64], without: &[f64]) -> Vec<f64> {
    through.iter().zip(without).map(|(through, without)| through - without).collect()
}

/// A median by itself, with its interval.
pub(crate) fn alone(values: &[f64]) -> Estimate {
    ratio_of_medians(values, &vec![1.0; values.len()])
}
