//! G1: what a hit costs, as a share of what the hand-written layer costs.

use std::{hint::black_box, sync::Arc, time::Duration};

use chrono::TimeDelta;
use http::{Request, Response, StatusCode, header};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer as _, Service};
use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, KeyId, MemoryStore, Owner, TokenAuthLayer, TokenDigest,
    store::KeyRepository as _,
};

use crate::{
    Effort,
    contenders::{Bare, Body, by_hand, drive, now},
    print,
    statistics::{median, ratio_of_medians},
};

const GOAL: f64 = 0.30;
/// Requests in one timed batch: some hundred microseconds, so that reading the clock is no matter.
const BATCH: usize = 256;
const ROUNDS: usize = 5_000;

/// Tokens as knox makes them: 64 hexadecimal characters.
const EXPIRING: &str = "5f0c6a5b1c1f4e1d9b7f6f3a2e8d7c6b5a49382716059483a1b2c3d4e5f60718";
const ENDLESS: &str = "a1b2c3d4e5f607185f0c6a5b1c1f4e1d9b7f6f3a2e8d7c6b5a49382716059483";

/// A runtime, an authenticator and a store that knows both tokens.
pub(crate) struct Setting {
    pub(crate) runtime: Runtime,
    pub(crate) auth: Authenticator,
    store: Arc<MemoryStore>,
}

impl Setting {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let store = MemoryStore::new();
        for (token, expires_in) in [(EXPIRING, Some(TimeDelta::days(30))), (ENDLESS, None)] {
            let digest = TokenDigest::of(DigestAlgorithm::Sha256, token);
            let key = ApiKey::new(KeyId::random(), digest, "ada".into(), now())
                .with_name("a key of the report")
                .with_expires_at(expires_in.map(|span| now() + span));
            let inserted = runtime.block_on(store.insert(key, Owner::staff("ada"), &mut |_| true));
            inserted.expect("an empty store takes a key");
        }
        let (auth, guard) = Authenticator::builder(store.clone()).build().expect("the defaults fit");
        // Dropping the guard detaches the recorder: it goes on, as in a running service.
        drop(guard);
        Self { runtime, auth, store: Arc::new(store) }
    }
}

/// A request as a client sends it, with a key that expires.
pub(crate) fn request() -> Request<Body> {
    request_with(EXPIRING)
}

fn request_with(token: &str) -> Request<Body> {
    Request::get("/v1/things?page=2")
        .header(header::HOST, "api.example.com")
        .header(header::USER_AGENT, "report/1.0")
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, format!("Token {token}"))
        .body(Body::default())
        .expect("the request is well formed")
}

pub(crate) fn report(effort: Effort) {
    let setting = Setting::new();
    let _inside = setting.runtime.enter();
    let mut layer = TokenAuthLayer::new(setting.auth.clone()).layer(Bare);
    let mut rival = by_hand(Arc::clone(&setting.store)).layer(Bare);
    let (expiring, endless) = (request(), request_with(ENDLESS));

    let mut bare_times = Vec::new();
    let [mut layer_times, mut rival_times, mut endless_times] = [const { Vec::new() }; 3];
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
    line("the bare service", bare_times);
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
    Duration::as_nanos(&before.elapsed()) as f64 / BATCH as f64
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
}
