//! One way to authenticate, as it is measured: around a bare service, and around a route of axum's.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    ops::Range,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, response::IntoResponse, routing::Route};
use http::{Extensions, HeaderValue, Request, Response, StatusCode, header};
use tower::{Layer, Service, ServiceExt as _};

use crate::time::stopwatch;

pub(crate) const PATH: &str = "/v1/things";

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) credentials: Credentials,
    pub(crate) service: Box<dyn InProcess>,
    pub(crate) app: Router,
}

/// Values of `Authorization`: one that is admitted, and what has to be refused, by the reason.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) good: HeaderValue,
    pub(crate) refused: Vec<(&'static str, HeaderValue)>,
}

impl Contender {
    /// `holds` says whether what the layer is to leave in the extensions is there; who does not find it
    /// answers 500.
    pub(crate) fn new<L>(
        name: &'static str,
        credentials: Credentials,
        holds: fn(&Extensions) -> bool,
        layer: L,
    ) -> Self
    where
        L: Layer<Bare> + Layer<Route> + Clone + Send + Sync + 'static,
        <L as Layer<Bare>>::Service: Service<Request<Body>, Response: Answered, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        <L as Layer<Route>>::Service: Service<
                Request<Body>,
                Response: IntoResponse + 'static,
                Error: Into<Infallible> + 'static,
                Future: Send + 'static,
            > + Clone
            + Send
            + Sync
            + 'static,
    {
        let service = Box::new(Through(layer.layer(Bare(holds))));
        let things = async move |request: Request<Body>| {
            if holds(request.extensions()) {
                (StatusCode::OK, "ok")
            } else {
                (StatusCode::INTERNAL_SERVER_ERROR, "nobody told who this is")
            }
        };
        let app = Router::new().route(PATH, axum::routing::get(things)).layer(layer);
        Self { name, credentials, service, app }
    }

    pub(crate) fn request(&self) -> Request<Body> {
        request(&self.credentials.good)
    }

    /// Panics unless the good credential is admitted, with its record, and all others are refused.
    pub(crate) async fn check(&self) {
        let (name, credentials) = (self.name, &self.credentials);
        let asked = async |request: Request<Body>| {
            let response = self.app.clone().oneshot(request).await;
            response.map(|response| response.status())
        };
        // More than once: from the store, and then from the cache.
        for _ in 0..3 {
            assert_eq!(asked(self.request()).await, Ok(StatusCode::OK), "{name}");
            for (why, value) in &credentials.refused {
                let status = asked(request(value)).await;
                assert_eq!(status, Ok(StatusCode::UNAUTHORIZED), "{name}: {why}");
            }
            if !credentials.refused.is_empty() {
                let mut silent = self.request();
                silent.headers_mut().remove(header::AUTHORIZATION);
                assert_eq!(asked(silent).await, Ok(StatusCode::UNAUTHORIZED), "{name}: missing");
            }
        }
    }
}

/// A request as a client sends it.
fn request(authorization: &HeaderValue) -> Request<Body> {
    Request::get(PATH)
        .header(header::HOST, "api.example.com")
        .header(header::USER_AGENT, "rivals/1.0")
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, authorization)
        .body(Body::empty())
        .expect("the request is well formed")
}

/// The service behind every contender: it looks for the record, and answers.
#[derive(Clone)]
pub(crate) struct Bare(fn(&Extensions) -> bool);

impl Service<Request<Body>> for Bare {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    // The same code for all contenders: grown into each of them, it would cost one more than another.
    #[inline(never)]
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut response = Response::new(Body::empty());
        if !self.0(request.extensions()) {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        drop(black_box(request));
        ready(Ok(response))
    }
}

/// What has a status: a response, whatever its body, and what stands for one.
pub(crate) trait Answered {
    fn status(&self) -> StatusCode;
}

impl<B> Answered for Response<B> {
    fn status(&self) -> StatusCode {
        self.status()
    }
}

/// A service that is driven without a runtime in between. Called once for many requests, so that the
/// indirection is no matter.
pub(crate) trait InProcess: Send + Sync {
    /// What these requests take, which were made before; the service drops them.
    fn batch(&self, requests: Vec<Request<Body>>) -> Duration;

    /// From when to when `count` requests took, each made of the template, as a server makes one anew from
    /// what it reads. `start` is called when all is warm, and returns when it is time.
    fn repeat(&self, template: &Request<Body>, count: usize, start: &dyn Fn()) -> Range<Instant>;
}

struct Through<S>(S);

impl<S> InProcess for Through<S>
where
    S: Service<Request<Body>, Response: Answered, Error = Infallible> + Clone + Send + Sync,
{
    fn batch(&self, requests: Vec<Request<Body>>) -> Duration {
        let mut service = self.0.clone();
        let before = stopwatch();
        for request in requests {
            admitted(&mut service, request);
        }
        before.elapsed()
    }

    fn repeat(&self, template: &Request<Body>, count: usize, start: &dyn Fn()) -> Range<Instant> {
        let mut service = self.0.clone();
        for _ in 0..count / 16 {
            admitted(&mut service, copy(template));
        }
        start();
        let before = stopwatch();
        for _ in 0..count {
            admitted(&mut service, copy(template));
        }
        before..stopwatch()
    }
}

/// Another request that is the same: a body can't be cloned.
pub(crate) fn copy(template: &Request<Body>) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = template.uri().clone();
    *request.headers_mut() = template.headers().clone();
    request
}

fn admitted<S>(service: &mut S, request: Request<Body>)
where
    S: Service<Request<Body>, Response: Answered, Error = Infallible>,
{
    let Ok(response) = drive(service, request);
    assert_eq!(response.status(), StatusCode::OK, "every request is admitted");
    black_box(response);
}

/// One request through a service whose answer hardly ever needs waiting.
fn drive<S>(service: &mut S, request: Request<Body>) -> Result<S::Response, S::Error>
where
    S: Service<Request<Body>>,
{
    let mut context = Context::from_waker(Waker::noop());
    while service.poll_ready(&mut context)?.is_pending() {}
    let mut future = pin!(service.call(request));
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return answer;
        }
    }
}
