//! What no layer of this kind can do without, measured alone: nobody's goal, but everybody's floor.

use std::{
    convert::Infallible,
    future::Ready,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, header};
use tower::Service;

use self::fingerprint::{Fingerprint, FingerprintKey};
use crate::contenders::{Bare, Body};

/// The crate's own, which it does not show.
#[path = "../../src/state/cache/front/fingerprint.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "a table asks more of it, and its tests run where it is"
)]
mod fingerprint;

/// A pointer, as the key itself is: what stands for it in the request's extensions.
#[derive(Clone)]
struct Inserted(#[expect(dead_code, reason = "only its place matters")] Arc<u8>);

/// The bare service, with one pointer put into the request's extensions before it.
#[derive(Clone)]
pub(crate) struct Insertion(Inserted);

impl Insertion {
    pub(crate) fn new() -> Self {
        Self(Inserted(Arc::new(0)))
    }
}

impl Service<Request<Body>> for Insertion {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.extensions_mut().insert(self.0.clone());
        Bare.call(request)
    }
}

/// The same behind the token's parsing and its keyed fingerprint, which is compared with the one that
/// is known. No cache, no clock, no validity.
#[derive(Clone)]
pub(crate) struct Floor {
    insertion: Insertion,
    key: Arc<FingerprintKey>,
    known: Fingerprint,
}

impl Floor {
    pub(crate) fn new(token: &str) -> Self {
        let key = Arc::from(FingerprintKey::random().expect("the system has random numbers"));
        let known = FingerprintKey::of(&key, token.as_bytes()).expect("a short token");
        Self { insertion: Insertion::new(), key, known }
    }
}

impl Service<Request<Body>> for Floor {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let field = request.headers().get(header::AUTHORIZATION);
        let token = field.and_then(|field| field.as_bytes().strip_prefix(b"Token "));
        let print = token.and_then(|token| self.key.of(token));
        assert!(print == Some(self.known), "the floor knows one token");
        self.insertion.call(request)
    }
}
