//! G1: what a hit costs, as a share of what the hand-written layer costs.

use http::{Request, Response};
use tower::{Layer as _, Service};
use tower_token_auth::TokenAuthLayer;

use crate::{
    Effort,
    contenders::{Bare, Body, by_hand},
    floor::{Floor, Insertion},
    print,
    setting::{ENDLESS, EXPIRING, Setting, request},
    statistics::ratio_of_medians,
    timing::{line, minus, time},
};

const GOAL: f64 = 0.30;
const ROUNDS: usize = 5_000;

pub(crate) fn report(effort: Effort) {
    let setting = Setting::prepare();
    let _inside = setting.runtime.enter();
    let mut layer = TokenAuthLayer::new(setting.auth.clone()).layer(Bare);
    let mut rival = by_hand(setting.store.clone()).layer(Bare);
    let (mut insertion, mut floor) = (Insertion::new(), Floor::new(EXPIRING));
    let (expiring, endless) = (request(EXPIRING), request(ENDLESS));

    let mut times = [const { Vec::new() }; 6];
    for round in 0..effort.rounds(ROUNDS) {
        // Each contender takes each place in turn: none always runs behind the same one.
        for place in 0..times.len() {
            let at = (round + place) % times.len();
            times[at].push(match at {
                0 => time(&mut Bare, &expiring),
                1 => time(&mut layer, &expiring),
                2 => time(&mut rival, &expiring),
                3 => time(&mut layer, &endless),
                4 => time(&mut insertion, &expiring),
                _ => time(&mut floor, &expiring),
            });
        }
    }
    let [bare, layered, by_hand, without_expiry, inserting, at_least] = times;
    let (layer_cost, rival_cost) = (minus(&layered, &bare), minus(&by_hand, &bare));
    let ratio = ratio_of_medians(&layer_cost, &rival_cost);
    print("G1", ratio, &format!("<= {GOAL:.2}"), ratio.value <= GOAL, 2);
    line("the bare service", bare.clone());
    line("floor: one insertion adds", minus(&inserting, &bare));
    line("floor: parse, fingerprint, insertion add", minus(&at_least, &bare));
    line("the layer adds", layer_cost);
    line("the layer adds, key without expiry", minus(&without_expiry, &bare));
    line("the hand-written layer adds", rival_cost);
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
    // It counts whether anybody listens or not.
    line("the layer adds, with metrics", minus(&metered, &bare));
}
