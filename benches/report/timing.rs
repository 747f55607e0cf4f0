//! How a service is timed: batches of requests that were made before, and are dropped by the service.

use std::{hint::black_box, time::Instant};

use http::{Request, Response, StatusCode};
use tower::Service;

use crate::{
    contenders::{Body, drive},
    statistics::median,
};

/// Requests in one timed batch: ten microseconds and more, so that reading the clock is no matter.
pub(crate) const BATCH: usize = 256;

/// Nanoseconds that one of a batch of the same request takes.
pub(crate) fn time<S, B>(service: &mut S, request: &Request<Body>) -> f64
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
{
    time_all(service, (0..BATCH).map(|_| request.clone()).collect())
}

/// Nanoseconds that one of these requests takes, all of which are admitted.
pub(crate) fn time_all<S, B>(service: &mut S, requests: Vec<Request<Body>>) -> f64
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
{
    let count = requests.len() as f64;
    let before = stopwatch();
    for request in requests {
        let response = drive(service, request).expect("nothing fails here");
        assert_eq!(response.status(), StatusCode::OK, "every request is admitted");
        black_box(response);
    }
    before.elapsed().as_nanos() as f64 / count
}

/// Nanoseconds that one of `count` calls takes.
pub(crate) fn time_calls(count: usize, mut call: impl FnMut(usize)) -> f64 {
    let before = stopwatch();
    for at in 0..count {
        call(at);
    }
    before.elapsed().as_nanos() as f64 / count as f64
}

/// What each round took through something, less what it took without.
pub(crate) fn minus(through: &[f64], without: &[f64]) -> Vec<f64> {
    through.iter().zip(without).map(|(through, without)| through - without).collect()
}

/// Prints the middle of some times.
pub(crate) fn line(what: &str, mut times: Vec<f64>) {
    println!("    {what:<44} {:>7.1} ns", median(&mut times));
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn stopwatch() -> Instant {
    Instant::now()
}
