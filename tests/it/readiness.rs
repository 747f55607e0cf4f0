//! When the inner service is polled ready, called, cloned and given up.

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use tower::{
    Layer as _, Service, ServiceBuilder, ServiceExt as _, buffer::Buffer, limit::ConcurrencyLimit,
    service_fn,
};
use tower_token_auth::{Authenticator, ResponseFuture, Subject, TokenAuth, TokenAuthLayer, bypass};

use crate::support::{
    Scripted, TOKEN,
    http::{get, name_of_key, send, with_authorization, with_token},
    scripted,
};

type Body = Full<Bytes>;

/// An authenticator that has [`TOKEN`] in its cache and knows `known-junk` to be no key.
async fn warm() -> (Authenticator, Scripted) {
    let (auth, store) = scripted().await;
    auth.authenticate(TOKEN).await.expect("the key is there");
    auth.authenticate("known-junk").await.expect_err("no key has it");
    (auth, store)
}

fn junk(number: usize) -> Request<Body> {
    with_authorization(&format!("Token junk-{number}"))
}

/// Polls a future once, and says what came of it.
async fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
}

/// Polls a service's readiness once.
async fn is_ready<S: Service<Request<Body>, Error: std::fmt::Debug>>(service: &mut S) -> bool {
    poll_fn(|cx| Poll::Ready(service.poll_ready(cx))).await.map(Result::unwrap).is_ready()
}

/// Answers at once, counts its clones and calls, and refuses to be called unready, as tower's
/// contract lets it.
#[derive(Default)]
struct Strict {
    counts: Arc<Counts>,
    is_ready: bool,
}

#[derive(Default)]
struct Counts {
    clones: AtomicUsize,
    calls: AtomicUsize,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        self.counts.clones.fetch_add(1, Ordering::SeqCst);
        Self { counts: Arc::clone(&self.counts), is_ready: false }
    }
}

impl Service<Request<Body>> for Strict {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without having been polled ready");
        self.counts.calls.fetch_add(1, Ordering::SeqCst);
        ready(Ok(Response::default()))
    }
}

#[tokio::test]
async fn readiness_is_the_inner_service_s() {
    let (inner, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let mut service = TokenAuthLayer::new(warm().await.0).layer(inner);
    handle.allow(0);
    assert!(!is_ready(&mut service).await);
    handle.allow(1);
    assert!(is_ready(&mut service).await);
    handle.send_error("broken");
    let error = poll_fn(|cx| service.poll_ready(cx)).await.unwrap_err();
    assert_eq!(error.to_string(), "broken");
}

/// Control: with a clone called in place of the readied service, `Strict` panics; with one made and
/// dropped, the count is 1.
#[tokio::test]
async fn a_hit_calls_the_very_service_that_was_polled_ready() {
    let bypass = bypass::paths(["/open"]);
    let layer = TokenAuthLayer::new(warm().await.0).optional().insecure_bypass(bypass);
    let inner = Strict::default();
    let counts = Arc::clone(&inner.counts);
    let mut service = layer.layer(inner);
    let mut open = get();
    *open.uri_mut() = "/open".parse().unwrap();
    for (calls, request) in [with_token(), get(), open].into_iter().enumerate() {
        let response = service.ready().await.unwrap().call(request);
        assert_eq!(counts.calls.load(Ordering::SeqCst), calls + 1, "called at once, unpolled");
        assert!(response.await.unwrap().status().is_success());
    }
    assert_eq!(counts.clones.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_hit_s_future_is_hardly_larger_than_the_inner_one() {
    type Inner = tower::util::BoxCloneService<Request<Body>, Response<Body>, Infallible>;
    fn sizes<S: Service<Request<Body>>>() -> (usize, usize) {
        (size_of::<S::Future>(), size_of::<ResponseFuture<S, Body>>())
    }
    for (inner, ours) in [sizes::<Inner>(), sizes::<Strict>()] {
        assert!(ours <= inner.max(16) + 8, "{ours} for {inner}");
    }
}

/// I15. Control: with `give_up_readiness` taken out of the refusals, the other clone is never ready.
#[tokio::test]
async fn a_refused_request_holds_no_capacity() {
    let (auth, _) = warm().await;
    let inner = ConcurrencyLimit::new(service_fn(name_of_key::<Body>), 1);
    let mut service = TokenAuthLayer::new(auth).layer(inner);
    let mut other = service.clone();
    let known_junk = with_authorization("Token known-junk");
    for request in [get(), with_authorization("Basic eDp5"), known_junk] {
        assert!(is_ready(&mut service).await);
        assert!(!is_ready(&mut other).await, "the only permit is taken");
        let refusal = service.call(request);
        assert!(is_ready(&mut other).await, "neither the refusal nor the service holds it");
        other = service.clone();
        assert_eq!(refusal.await.unwrap().status(), 401);
    }
}

/// I15. Control: with `give_up_readiness` taken out of the way to the store, the cached key is not ready.
#[tokio::test]
async fn junk_at_the_store_never_delays_a_cached_key_at_a_concurrency_limit() {
    let (auth, store) = warm().await;
    let reads = store.reads();
    let inner = ConcurrencyLimit::new(service_fn(name_of_key::<Body>), 4);
    let mut service = TokenAuthLayer::new(auth).layer(inner);
    store.hold();
    let mut waiting = Vec::new();
    // Each on a connection of its own that stays open: it has a clone that may keep what it readied.
    let mut connections = vec![service.clone(); 20];
    for (number, connection) in connections.iter_mut().enumerate() {
        assert!(is_ready(connection).await, "junk {number}");
        let mut response = Box::pin(connection.call(junk(number)));
        assert!(once(&mut response).await.is_pending());
        waiting.push(response);
    }
    store.begun(reads + 20).await;
    for _ in 0..8 {
        assert!(is_ready(&mut service).await);
        let Poll::Ready(hit) = once(&mut Box::pin(service.call(with_token()))).await else {
            panic!("a cached key waited behind junk");
        };
        assert_eq!(hit.unwrap().status(), 200);
    }
    store.release();
    for refused in join_all(waiting).await {
        assert_eq!(refused.unwrap().status(), 401);
    }
}

/// I15: only when polled ready. Control: without `poll_ready` behind the decision it is called at once.
#[tokio::test]
async fn a_miss_is_verified_then_made_ready_then_forwarded() {
    let (auth, store) = scripted().await;
    let (inner, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let mut service = TokenAuthLayer::new(auth).layer(inner);
    handle.allow(1);
    assert!(is_ready(&mut service).await);
    store.hold();
    let mut response = Box::pin(service.call(with_token()));
    assert!(once(&mut response).await.is_pending());
    store.begun(1).await;
    handle.allow(0);
    store.release();
    // Admitted by now or soon, but the clone is not ready, so the request must not arrive.
    for _ in 0..100 {
        assert!(once(&mut response).await.is_pending());
        tokio::task::yield_now().await;
    }
    assert!(once(&mut Box::pin(handle.next_request())).await.is_pending());
    handle.allow(1);
    let serve = async {
        let (request, answer) = handle.next_request().await.expect("the admitted request");
        assert_eq!(crate::support::http::passed_as(request.extensions()), "key key");
        answer.send_response(Response::new(Body::from("forwarded")));
    };
    let (response, ()) = tokio::join!(response, serve);
    assert!(response.unwrap().status().is_success());
}

#[tokio::test]
async fn an_error_of_the_second_readiness_is_the_caller_s() {
    let (auth, store) = scripted().await;
    let (inner, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let mut service = TokenAuthLayer::new(auth).layer(inner);
    handle.allow(1);
    assert!(is_ready(&mut service).await);
    store.hold();
    let response = service.call(with_token());
    handle.send_error("broken meanwhile");
    store.release();
    assert_eq!(response.await.unwrap_err().to_string(), "broken meanwhile");
}

/// I15. Control: with the inner service called before the decision, or after a refusal, the count is not 0.
#[tokio::test]
async fn nothing_refused_reaches_the_inner_service() {
    let (auth, store) = warm().await;
    let inner = Strict::default();
    let counts = Arc::clone(&inner.counts);
    let service = TokenAuthLayer::new(auth.clone()).layer(inner);
    for value in ["Token junk", "Token known-junk", "Token", "Basic eDp5", "Token a b"] {
        assert_eq!(send(&service, with_authorization::<Body>(value)).await.status, 401);
    }
    store.fail(true);
    auth.flush();
    assert_eq!(send(&service, with_token()).await.status, 503);
    assert_eq!(counts.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_request_given_up_while_it_waits_never_arrives() {
    let (auth, store) = scripted().await;
    let inner = Strict::default();
    let counts = Arc::clone(&inner.counts);
    let mut service = TokenAuthLayer::new(auth).layer(inner);
    store.hold();
    let mut response = Box::pin(service.ready().await.unwrap().call(with_token()));
    assert!(once(&mut response).await.is_pending());
    drop(response);
    store.release();
    assert_eq!(send(&service, with_token()).await.status, 200);
    assert_eq!(counts.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn authoritative_asks_the_store_each_time_and_gives_up_readiness_first() {
    let (auth, store) = warm().await;
    let inner = ConcurrencyLimit::new(service_fn(name_of_key::<Body>), 1);
    let mut service = TokenAuthLayer::new(auth.clone()).authoritative().layer(inner);
    let reads = store.reads();
    assert_eq!(send(&service, with_token()).await.body, "key key");
    assert_eq!(send(&service, with_token()).await.body, "key key");
    assert_eq!(store.reads(), reads + 2);
    assert_eq!(send(&service, with_authorization("Token known-junk")).await.status, 401);
    assert_eq!(store.reads(), reads + 2, "a current negative entry refuses without");
    store.hold();
    let mut other = service.clone();
    assert!(is_ready(&mut service).await);
    let mut waiting = Box::pin(service.call(with_token()));
    assert!(once(&mut waiting).await.is_pending());
    assert!(is_ready(&mut other).await, "a read of the store holds no permit");
    store.release();
    // The readiness just taken is given back, or the waiting request could not have it.
    drop(other);
    assert_eq!(waiting.await.unwrap().status(), 200);
    auth.revoke(&Subject::Digest(crate::support::digest(&store, TOKEN)));
}

#[tokio::test]
async fn under_a_buffer_and_over_one() {
    let (auth, store) = warm().await;
    let layer = TokenAuthLayer::new(auth);
    let outside = Buffer::new(layer.layer(service_fn(name_of_key::<Body>)), 1);
    assert_eq!(send(&outside, with_token()).await.body, "key key");
    assert_eq!(send(&outside, get()).await.status, 401);
    // The buffer's worker goes on while junk waits for the store.
    store.hold();
    let mut waiting = Box::pin(outside.clone().oneshot(junk(1)));
    assert!(once(&mut waiting).await.is_pending());
    assert_eq!(send(&outside, with_token()).await.body, "key key");

    // A buffer inside hands out its one place by readiness: junk at the store must not keep it.
    let inner = Buffer::new(service_fn(name_of_key::<Body>), 1);
    let mut service = layer.layer(inner);
    let mut other = service.clone();
    service.ready().await.unwrap();
    let mut at_store = pin!(service.call(junk(2)));
    assert!(once(&mut at_store).await.is_pending());
    assert!(is_ready(&mut other).await);
    assert_eq!(other.call(with_token()).await.unwrap().status(), 200);
    store.release();
    assert_eq!(waiting.await.unwrap().status(), 401);
    assert_eq!(at_store.await.unwrap().status(), 401);
}

#[tokio::test]
async fn in_a_service_builder_between_limits() {
    let (auth, _) = warm().await;
    let service = ServiceBuilder::new()
        .concurrency_limit(2)
        .layer(TokenAuthLayer::new(auth))
        .concurrency_limit(1)
        .service_fn(name_of_key::<Body>);
    let answers = join_all((0..50).map(|number| {
        let request = if number % 2 == 0 { with_token() } else { junk(number) };
        send(&service, request)
    }));
    let answers = answers.await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 25);
    assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 25);
}

/// What users can write down: both types have no parameter for store, request or body.
#[tokio::test]
async fn the_types_can_be_named_in_a_struct() {
    struct App {
        layer: TokenAuthLayer,
        service: TokenAuth<Strict>,
    }
    fn holds<T: Clone + Send + Sync + 'static>(_: &T) {}
    let layer = TokenAuthLayer::new(warm().await.0);
    let app = App { service: layer.layer(Strict::default()), layer };
    holds(&app.layer);
    holds(&app.service);
    assert!(format!("{:?}", app.layer).contains("Token"));
}
