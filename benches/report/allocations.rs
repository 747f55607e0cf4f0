//! G4: what a hit allocates beyond the one value that it puts into the request's extensions.

use std::{hint::black_box, sync::Arc, thread};

use axum::{Router, routing::get};
use counting_allocator::allocations_of;
use http::Request;
use tower::{Layer as _, Service, util::MapRequestLayer};
use tower_token_auth::TokenAuthLayer;

use crate::{
    Effort,
    contenders::{Bare, Body, drive},
    everything::{Cached, token},
    print,
    setting::{EXPIRING, Setting, request},
    statistics::Estimate,
};

const REQUESTS: u32 = 1_000;
/// Keys that take turns: many times those that the smallest table of a thread remembers.
const TURN: usize = 2_000;

/// What stands for the key in the plain insertion: a pointer, as the key itself is.
#[derive(Clone)]
struct Inserted(#[expect(dead_code, reason = "only its place matters")] Arc<u8>);

pub(crate) fn report(effort: Effort) {
    let setting = Setting::prepare();
    let _inside = setting.runtime.enter();
    let inserted = Inserted(Arc::new(0));
    let insertion = MapRequestLayer::new(move |mut request: Request<Body>| {
        request.extensions_mut().insert(inserted.clone());
        request
    });
    let requests = if effort == Effort::Smoke { 10 } else { REQUESTS };
    let layer = TokenAuthLayer::new(setting.auth.clone());
    let through = per_request(&mut layer.layer(Bare), requests);
    let bare = per_request(&mut Bare, requests);
    let inserting = per_request(&mut insertion.layer(Bare), requests);
    let beyond = through - inserting;
    let exact = Estimate { value: beyond, low: beyond, high: beyond };
    print("G4", exact, "= 0", beyond <= 0.0, 0);
    println!("    bare service {bare}, with one insertion {inserting}, with the layer {through}");
    let shared = on_the_shared_path() - inserting;
    println!(
        "    beyond the insertion, where the thread knows none of the keys by itself: {shared}"
    );

    let app = Router::new().route("/v1/things", get(async || ()));
    let through = per_request(&mut OnAxum(app.clone().layer(layer)), requests);
    let inserting = per_request(
        &mut OnAxum(app.layer(MapRequestLayer::new({
            let inserted = Inserted(Arc::new(0));
            move |mut request: Request<axum::body::Body>| {
                request.extensions_mut().insert(inserted.clone());
                request
            }
        }))),
        requests,
    );
    println!("    axum boxes our response body anew: {} (at most 1)", through - inserting);
}

/// Allocations of one hit in the table that all threads share: of keys that take turns, so that this
/// thread meets none of them twice while it remembers it.
fn on_the_shared_path() -> f64 {
    // A thread that has met nothing yet has the smallest table.
    let new_thread = thread::spawn(|| {
        let Cached { runtime, auth, keys } = Cached::new(TURN);
        let _inside = runtime.enter();
        let mut service = TokenAuthLayer::new(auth).layer(Bare);
        let turn = || (0..keys).map(|number| request(&token(number))).collect();
        counted(&mut service, turn());
        counted(&mut service, turn())
    });
    new_thread.join().expect("no request fails")
}

/// Allocations of one request, once everything is warm.
fn per_request<S>(service: &mut S, requests: u32) -> f64
where
    S: Service<Request<Body>>,
    S::Error: std::fmt::Debug,
{
    for _ in 0..10 {
        drive(service, request(EXPIRING)).expect("nothing fails here");
    }
    counted(service, (0..requests).map(|_| request(EXPIRING)).collect())
}

fn counted<S>(service: &mut S, made: Vec<Request<Body>>) -> f64
where
    S: Service<Request<Body>>,
    S::Error: std::fmt::Debug,
{
    let requests = made.len() as f64;
    let ((), count) = allocations_of(|| {
        for request in made {
            black_box(drive(service, request).expect("nothing fails here"));
        }
    });
    // The requests' own vector is freed in there, which counts nothing.
    (count as f64 / requests * 1e3).round() / 1e3
}

/// A router, with its own type of body.
struct OnAxum(Router);

impl Service<Request<Body>> for OnAxum {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = axum::routing::future::RouteFuture<Self::Error>;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}
