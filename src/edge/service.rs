//! The service: one verdict per request, and the inner service called only on admission.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    future::ResponseFuture,
    readiness::give_up_readiness,
    responder::body::ResponseBody,
    settings::{Look, Settings, Verdict},
};

/// A service behind a [`TokenAuthLayer`](crate::TokenAuthLayer).
///
/// Readiness is the inner service's. See the layer for the rules.
#[derive(Clone, Debug)]
pub struct TokenAuth<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> TokenAuth<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B, R> Service<Request<B>> for TokenAuth<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let look = if Settings::were_taken(request.extensions()) {
            Look::Not
        } else {
            match self.settings.known(request.headers_mut()) {
                Ok(key) => {
                    Settings::leave_key(request.extensions_mut(), key);
                    return ResponseFuture::forward(self.inner.call(request));
                }
                Err(look) => look,
            }
        };
        self.judge(request, look)
    }
}

impl<S> TokenAuth<S> {
    /// What becomes of a request that this thread can't admit by itself.
    #[inline(never)]
    fn judge<B, R>(&mut self, request: Request<B>, look: Look) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone,
    {
        let (mut head, body) = request.into_parts();
        match self.settings.judge(&mut head, look) {
            Verdict::Pass => {
                ResponseFuture::forward(self.inner.call(Request::from_parts(head, body)))
            }
            Verdict::Refuse(rejection) => {
                give_up_readiness(&mut self.inner);
                ResponseFuture::refused(self.settings.refuse(rejection, &head))
            }
            Verdict::Ask(credential) => {
                // Before the store is asked: otherwise junk tokens, each waiting for its read, would
                // hold an inner concurrency limit against keys that the cache knows.
                give_up_readiness(&mut self.inner);
                let settings = Arc::clone(&self.settings);
                ResponseFuture::ask(settings, self.inner.clone(), head, body, credential)
            }
        }
    }
}
