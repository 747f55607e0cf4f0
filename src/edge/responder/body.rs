//! The body of a response behind the layer: the inner service's, or a refusal's bytes.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response behind a [`TokenAuthLayer`](crate::TokenAuthLayer): the inner
    /// service's own, or a refusal's bytes.
    ///
    /// It is a [`Body`] with the inner body's data and error, for any inner body whose data can be
    /// made from [`Bytes`]. Axum boxes a foreign body once more on its way out (one allocation for
    /// each of its own `layer` calls); where that matters, `axum::body::Body::from` undoes the
    /// wrapping without one, however many layers of this crate made it.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Inner { #[pin] body: B },
        /// Invariant: empty once the bytes were handed out.
        Refusal { bytes: Bytes },
    }
}

impl<B> ResponseBody<B> {
    #[inline]
    pub(in crate::edge) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    pub(in crate::edge) fn refusal(bytes: Bytes) -> Self {
        Self { kind: Kind::Refusal { bytes } }
    }

    /// The inner service's body, or what `refusal` makes of a refusal's bytes.
    pub fn into_inner_or(self, refusal: impl FnOnce(Bytes) -> B) -> B {
        match self.kind {
            Kind::Inner { body } => body,
            Kind::Refusal { bytes } => refusal(bytes),
        }
    }
}

/// An empty body: what tower-http's `CorsLayer` and `TimeoutLayer` answer with when they stand
/// outside of the layer.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::refusal(Bytes::new())
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Refusal { bytes } if bytes.is_empty() => Poll::Ready(None),
            KindProj::Refusal { bytes } => {
                Poll::Ready(Some(Ok(Frame::data(mem::take(bytes).into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            // An empty refusal must end with its headers: gRPC's trailers-only form.
            Kind::Refusal { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Refusal { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

#[cfg(feature = "axum")]
impl<B> From<ResponseBody<B>> for axum_core::body::Body
where
    Self: From<B>,
{
    fn from(body: ResponseBody<B>) -> Self {
        match body.kind {
            Kind::Inner { body } => body.into(),
            Kind::Refusal { bytes } => bytes.into(),
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Inner { .. } => "Inner",
            Kind::Refusal { .. } => "Refusal",
        };
        f.debug_tuple("ResponseBody").field(&format_args!("{kind}")).finish()
    }
}
