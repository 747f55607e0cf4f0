//! Serves a number of requests, and nothing else that grows with it: for a profiler to count instructions.

use std::{hint::black_box, process::ExitCode};

use http::{Request, Response, StatusCode};
use tower::{Layer as _, Service};
use tower_token_auth::TokenAuthLayer;

use crate::{
    contenders::{Bare, Body, by_hand, drive},
    floor::{Floor, Insertion},
    setting::{EXPIRING, Setting, request},
};

/// What is served in a run for each of `count` requests, by the contender's name.
pub(crate) fn run(contender: Option<&str>, count: Option<&str>) -> ExitCode {
    let Some(count) = count.and_then(|count| count.parse().ok()) else { return usage() };
    let setting = Setting::prepare();
    // Here and not by the first request, which does nothing but ask again: under a profiler that runs one
    // thread at a time, the read would not come to its turn.
    let read = setting.runtime.block_on(setting.auth.authenticate(EXPIRING));
    read.expect("the key is good");
    let _inside = setting.runtime.enter();
    match contender {
        Some("bare") => serve(&mut Bare, count),
        Some("insertion") => serve(&mut Insertion::new(), count),
        Some("floor") => serve(&mut Floor::new(EXPIRING), count),
        Some("layer") => {
            serve(&mut TokenAuthLayer::new(setting.auth.clone()).layer(Bare), count);
        }
        Some("by-hand") => serve(&mut by_hand(setting.store.clone()).layer(Bare), count),
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("report: one-hit bare|insertion|floor|layer|by-hand COUNT");
    ExitCode::FAILURE
}

fn serve<S, B>(service: &mut S, count: usize)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
{
    let template = request(EXPIRING);
    let requests = |count| (0..count).map(|_| template.clone()).collect::<Vec<_>>();
    profiled(service, requests(100));
    profiled(service, requests(count));
}

/// The profiler counts in here alone: what is made before, is not of a hit.
#[inline(never)]
fn profiled<S, B>(service: &mut S, requests: Vec<Request<Body>>)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
{
    for request in requests {
        let response = drive(service, request).expect("nothing fails here");
        assert_eq!(response.status(), StatusCode::OK, "every request is admitted");
        black_box(response);
    }
}
