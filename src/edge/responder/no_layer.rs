//! The answer where no layer ran: a mistake of the service's own, and what to add.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CACHE_CONTROL, request::Parts};

use super::{GrpcMode, grpc, response};

/// gRPC's `INTERNAL`.
const INTERNAL: u8 = 13;

/// Answers a request that came to `place` with neither a key nor a visitor: 500, or gRPC 13. A
/// missing layer must never look like an anonymous visitor.
pub(in crate::edge) fn no_layer(place: &str, mode: GrpcMode, request: &Parts) -> Response<Bytes> {
    let advice = format!(
        "no TokenAuthLayer ran before this {place}: add `.layer(TokenAuthLayer::new(auth))` outside \
         of it; if it is there: on a Router, call it after `.route(…)` and after a RequireScopeLayer, \
         as it covers only what was added before it; on a ServiceBuilder, call it first"
    );
    let mut answer = if mode.applies_to(request) {
        grpc::status(INTERNAL, &advice, request)
    } else {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        response(status, "text/plain; charset=utf-8", advice + "\n")
    };
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
