//! Extractors for axum's handlers: the key, or the layer's own refusal.

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::Response,
};
use http::request::Parts;

use super::{
    responder::{GrpcMode, no_layer},
    visitor::Visitor,
};
use crate::usecase::authenticated::AuthenticatedKey;

/// The key that made the request. On an anonymous or bypassed request, the layer's own 401; where no
/// layer ran, 500 and what to add.
impl<S: Sync> FromRequestParts<S> for AuthenticatedKey {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        passed(head)
            .ok_or_else(|| unlayered(head))?
            .map_err(|visitor| visitor.refuse(head).map(Body::from))
    }
}

/// The key that made the request; `None` on an anonymous or bypassed request. Where no layer ran,
/// 500 and what to add.
impl<S: Sync> OptionalFromRequestParts<S> for AuthenticatedKey {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        passed(head).map(Result::ok).ok_or_else(|| unlayered(head))
    }
}

/// How the request passed; `None` where no layer ran.
fn passed(head: &Parts) -> Option<Result<AuthenticatedKey, Visitor>> {
    let key = head.extensions.get::<AuthenticatedKey>().cloned().map(Ok);
    key.or_else(|| head.extensions.get::<Visitor>().cloned().map(Err))
}

fn unlayered(head: &Parts) -> Response {
    no_layer("handler", GrpcMode::Auto, head).map(Body::from)
}
