//! G1: what a hit costs, as a share of what the hand-written layer costs.

use std::{hint::black_box, time::Instant};

use http::{Request, Response, StatusCode};
use tower::{Layer as _, Service};
use tower_token_auth::TokenAuthLayer;

use crate::{
    Effort,
    contenders::{Bare, Body, by_hand, drive},
    print,
    setting::{ENDLESS, EXPIRING, Setting, request},
    statistics::{median, ratio_of_medians},
};

const GOAL: f64 = 0.30;
/// Requests in one timed batch: some hundred microseconds, so that reading the clock is no matter.
const BATCH: usize = 256;
const ROUNDS: usize = 5_000;

pub(crate) fn report(effort: Effort) {
    let setting = Setting::prepare();
    let _inside = setting.runtime.enter();
    let mut layer = TokenAuthLayer::new(setting.auth.clone()).layer(Bare);
    let mut rival = by_hand(setting.store.clone()).layer(Bare);
    let (expiring, endless) = (request(EXPIRING), request(ENDLESS));

    let [mut bare_times, mut layer_times] = [const { Vec::new() }; 2];
    let [mut rival_times, mut endless_times] = [const { Vec::new() }; 2];
    for round in 0..effort.rounds(ROUNDS) {
        // Each contender takes each place in turn: none always runs behind the same one.
        for place in 0..4 {
            match (round + place) % 4 {
                0 => bare_times.push(time(&mut Bare, &expiring)),
                1 => layer_times.push(time(&mut layer, &expiring)),
                2 => rival_times.push(time(&mut rival, &expiring)),
                _ => endless_times.push(time(&mut layer, &endless)),
            }
        }
    }
    let layer_cost = minus(&layer_times, &bare_times);
    let rival_cost = minus(&rival_times, &bare_times);
    let ratio = ratio_of_medians(&layer_cost, &rival_cost);
    print("G1", ratio, &format!("<= {GOAL:.2}"), ratio.value <= GOAL, 2);
    line("the bare service", bare_times.clone());
    line("the layer adds", layer_cost);
    line("the hand-written layer adds", rival_cost);
    line("the layer adds, key without expiry", minus(&endless_times, &bare_times));
    with_observers(&mut layer, &expiring, effort);
}

/// The same hit with a subscriber, and with a recorder of metrics. They come after the goal's own
/// measurement: a subscriber that lives anywhere makes every event of the process dearer.
fn with_observers<S, B>(layer: &mut S, request: &Request<Body>, effort: Effort)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
{
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
    let dispatch = tracing::Dispatch::new(subscriber);
    let recorder = metrics::NoopRecorder;
    let [mut bare, mut traced, mut metered] = [const { Vec::new() }; 3];
    for _ in 0..effort.rounds(ROUNDS / 5) {
        tracing::dispatcher::with_default(&dispatch, || {
            let span = tracing::info_span!("request", key_id = tracing::field::Empty);
            let _inside = span.enter();
            bare.push(time(&mut Bare, request));
            traced.push(time(layer, request));
        });
        metrics::with_local_recorder(&recorder, || metered.push(time(layer, request)));
    }
    line("the layer adds, with tracing", minus(&traced, &bare));
    line("the layer adds, with metrics", minus(&metered, &bare));
}

fn minus(through: &[f64], without: &[f64]) -> Vec<f64> {
    through.iter().zip(without).map(|(through, without)| through - without).collect()
}

fn line(what: &str, mut times: Vec<f64>) {
    println!("    {what:<36} {:>7.1} ns", median(&mut times));
}

/// Nanoseconds that one request takes; the requests are made before and dropped by the service.
fn time<S, B>(service: &mut S, request: &Request<Body>) -> f64
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
{
    let requests: Vec<_> = (0..BATCH).map(|_| request.clone()).collect();
    let before = stopwatch();
    for request in requests {
        let response = drive(service, request).expect("nothing fails here");
        assert_eq!(response.status(), StatusCode::OK, "every request is admitted");
        black_box(response);
    }
    before.elapsed().as_nanos() as f64 / BATCH as f64
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn stopwatch() -> Instant {
    Instant::now()
}
