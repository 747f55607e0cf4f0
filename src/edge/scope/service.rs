//! The service: the inner one is called only for keys whose scopes suffice.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::requirement::Requirement;
use crate::edge::{
    future::ResponseFuture, readiness::give_up_readiness, responder::body::ResponseBody,
};

/// A service behind a [`RequireScopeLayer`](crate::RequireScopeLayer).
///
/// Readiness is the inner service's. See the layer for the rules.
#[derive(Clone, Debug)]
pub struct RequireScope<S> {
    inner: S,
    requirement: Arc<Requirement>,
}

impl<S> RequireScope<S> {
    pub(super) fn new(inner: S, requirement: Arc<Requirement>) -> Self {
        Self { inner, requirement }
    }
}

impl<S, B, R> Service<Request<B>> for RequireScope<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.requirement.judge(request.extensions()) {
            Ok(()) => ResponseFuture::forward(self.inner.call(request)),
            Err(refusal) => {
                give_up_readiness(&mut self.inner);
                let (head, _) = request.into_parts();
                ResponseFuture::refused(self.requirement.refuse(refusal, head))
            }
        }
    }
}
