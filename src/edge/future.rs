//! The response future: as small as the inner one on a hit, with all else behind a box.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    responder::body::ResponseBody,
    settings::{Credential, Settings},
};
use crate::usecase::{authenticated::AuthenticatedKey, rejection::Rejection};

pin_project! {
    /// The future of a [`TokenAuth`](crate::TokenAuth) or [`RequireScope`](crate::RequireScope)
    /// service's response.
    ///
    /// Dropping it drops the inner service's future, or stops waiting for the store.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Forward { #[pin] response: S::Future },
        Ask { miss: Pin<Box<Miss<S, B>>> },
        Refused { response: Option<Box<Response<Bytes>>> },
    }
}

pin_project! {
    /// What a request goes through that the cache can't decide.
    #[project = MissProj]
    enum Miss<S, B>
    where
        S: Service<Request<B>>,
    {
        Verify { decision: Decision, pending: Option<Pending<S, B>> },
        Ready { admitted: Option<(S, Request<B>)> },
        Forward { #[pin] response: S::Future },
    }
}

type Decision = Pin<Box<dyn Future<Output = Result<AuthenticatedKey, Rejection>> + Send>>;

/// A request that waits for the store.
struct Pending<S, B> {
    settings: Arc<Settings>,
    inner: S,
    head: Parts,
    body: B,
    credential: Credential,
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    #[inline]
    pub(super) fn forward(response: S::Future) -> Self {
        Self { state: State::Forward { response } }
    }

    pub(super) fn refused(response: Response<Bytes>) -> Self {
        Self { state: State::Refused { response: Some(Box::new(response)) } }
    }

    pub(super) fn ask(
        settings: Arc<Settings>,
        inner: S,
        head: Parts,
        body: B,
        credential: Credential,
    ) -> Self {
        let decision = Box::pin(settings.resolve(&credential));
        let pending = Some(Pending { settings, inner, head, body, credential });
        Self { state: State::Ask { miss: Box::pin(Miss::Verify { decision, pending }) } }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Forward { response } => {
                response.poll(cx).map_ok(|response| response.map(ResponseBody::inner))
            }
            StateProj::Ask { miss } => miss.as_mut().poll(cx),
            StateProj::Refused { response } => {
                let response = response.take().expect("a future is not polled once it is done");
                Poll::Ready(Ok(response.map(ResponseBody::refusal)))
            }
        }
    }
}

impl<S, B, R> Future for Miss<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                MissProj::Verify { decision, pending } => {
                    let decision = ready!(decision.as_mut().poll(cx));
                    let Pending { settings, inner, mut head, body, credential } =
                        pending.take().expect("a future is not polled once it is done");
                    match decision {
                        Ok(key) => credential.admit(&mut head, key),
                        Err(rejection) => {
                            let response = settings.refuse(rejection, &head);
                            return Poll::Ready(Ok(response.map(ResponseBody::refusal)));
                        }
                    }
                    let admitted = Some((inner, Request::from_parts(head, body)));
                    self.set(Miss::Ready { admitted });
                }
                MissProj::Ready { admitted } => {
                    let (inner, _) = admitted.as_mut().expect("taken only to leave this state");
                    ready!(inner.poll_ready(cx))?;
                    let (mut inner, request) = admitted.take().expect("it was there above");
                    let response = inner.call(request);
                    self.set(Miss::Forward { response });
                }
                MissProj::Forward { response } => {
                    return response.poll(cx).map_ok(|response| response.map(ResponseBody::inner));
                }
            }
        }
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Forward { .. } => "Forward",
            State::Ask { .. } => "Ask",
            State::Refused { .. } => "Refused",
        };
        f.debug_tuple("ResponseFuture").field(&format_args!("{state}")).finish()
    }
}
