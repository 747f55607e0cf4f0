//! G1: what a hit costs, as a share of what the hand-written layer costs.

use http::{Request, Response};
use tower::{Layer as _, Service};
use tower_token_auth::TokenAuthLayer;

use crate::{
    Effort,
    contenders::{Bare, Body, by_hand},
    floor::{Floor, Insertion},
    processes::{self, Costs, cost},
    setting::{ENDLESS, EXPIRING, Setting, request},
    timing::{minus, time},
};

const GOAL: f64 = 0.30;
/// In each process.
const ROUNDS: usize = 600;
const LAYER: &str = "the layer adds";
const RIVAL: &str = "the hand-written layer adds";

pub(crate) fn report(effort: Effort) {
    processes::report("G1", effort, [LAYER, RIVAL], GOAL);
}

/// What each contender costs, in this process.
pub(crate) fn costs(effort: Effort) -> Costs {
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
    let adds = |name, through: &[f64]| cost(name, minus(through, &bare));
    let mut costs = vec![
        cost("the bare service", bare.clone()),
        adds("floor: one insertion adds", &inserting),
        adds("floor: parse, fingerprint, insertion add", &at_least),
        adds(LAYER, &layered),
        adds("the layer adds, key without expiry", &without_expiry),
        adds(RIVAL, &by_hand),
    ];
    costs.extend(with_observers(&mut layer, &expiring, effort));
    costs
}

/// The same hit with a subscriber, and with a recorder of metrics. They come after the goal's own
/// measurement: a subscriber that lives anywhere makes every event of the process dearer.
fn with_observers<S, B>(
    layer: &mut S,
    request: &Request<Body>,
    effort: Effort,
) -> [(String, f64); 2]
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
    let adds = |name, through: &[f64]| cost(name, minus(through, &bare));
    // The layer counts whether anybody listens or not.
    [adds("the layer adds, with tracing", &traced), adds("the layer adds, with metrics", &metered)]
}
