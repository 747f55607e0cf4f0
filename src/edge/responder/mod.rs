//! How a refusal becomes a response.
//!
//! # Rules
//! 1. A responder is [`Problem`] (the default), [`Knox`], [`Grpc`], or any
//!    `Fn(&Rejection, &Parts) -> Response<impl Into<Bytes>>`; the types of such a closure's arguments
//!    are written out. The request's head that it is handed has its credential marked sensitive.
//! 2. Whatever it answers, the layer adds the [`Rejection`] to the response's extensions and
//!    `Cache-Control: no-store`; to a 401 without a challenge, one `WWW-Authenticate` field for each
//!    configured scheme; to a 403 for a missing scope, the one that RFC 6750 has for `Bearer`, if
//!    that is configured; to a 503 without it, `Retry-After`.
//! 3. gRPC requests are answered as gRPC unless a responder is set: see [`GrpcMode`].
//!
//! # Example
//! ```
//! use http::{Response, request::Parts};
//! use tower_token_auth::{Authenticator, MemoryStore, Rejection, TokenAuthLayer};
//!
//! # fn main() -> Result<(), tower_token_auth::ConfigError> {
//! let (auth, _guard) = Authenticator::builder(MemoryStore::new()).build()?;
//! let layer = TokenAuthLayer::new(auth).responder(|rejection: &Rejection, head: &Parts| {
//!     let mut response = Response::new(format!("{}: {rejection}\n", head.uri.path()));
//!     *response.status_mut() = rejection.status();
//!     response
//! });
//! # Ok(())
//! # }
//! ```

pub(crate) mod body;
mod challenge;
mod grpc;
mod knox;
mod no_layer;
mod problem;
mod table;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, RETRY_AFTER},
    request::Parts,
};

use challenge::SchemeAlone;

use super::credential::Sources;
use crate::usecase::rejection::{Rejection, RejectionKind};

pub use grpc::{Grpc, GrpcMode};
pub use knox::Knox;
pub use problem::Problem;

pub(super) use no_layer::no_layer;

/// Turns a refusal into a response; closures are responders.
pub trait Responder: Send + Sync + 'static {
    /// The response to a request with this head that was refused for this reason.
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<Bytes>;
}

impl<F, B> Responder for F
where
    F: Fn(&Rejection, &Parts) -> Response<B> + Send + Sync + 'static,
    B: Into<Bytes>,
{
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<Bytes> {
        self(rejection, request).map(Into::into)
    }
}

/// Adds what every refusal carries, whoever wrote it.
pub(super) fn dress(response: &mut Response<Bytes>, rejection: &Rejection, sources: &Sources) {
    let status = response.status();
    let alone = response.extensions_mut().remove::<SchemeAlone>();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        challenge::add(headers, rejection, sources, alone);
    }
    let is_scope = rejection.kind() == RejectionKind::OutOfScope;
    if status == StatusCode::FORBIDDEN && is_scope && alone.is_none() {
        challenge::add_for_scope(headers, rejection, sources);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // Whole seconds, rounded up: an early retry would only be refused again.
        let wait = rejection.retry_after().unwrap_or_default();
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.entry(RETRY_AFTER).or_insert_with(|| HeaderValue::from(seconds.max(1)));
    }
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Parts {
        http::Request::new(()).into_parts().0
    }

    /// Every kind, those that no request provokes yet among them.
    #[test]
    fn each_kind_has_its_row() {
        for kind in RejectionKind::ALL {
            let (status, code) = match kind {
                RejectionKind::OutOfScope => (403, "7"),
                kind if kind.is_unavailable() => (503, "14"),
                _ => (401, "16"),
            };
            let rejection = Rejection::new(kind);
            for responder in [&Problem as &dyn Responder, &Knox] {
                let mut response = responder.respond(&rejection, &head());
                dress(&mut response, &rejection, &Sources::default());
                assert_eq!(response.status(), status, "{kind}");
                let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
                assert!(!json["detail"].as_str().unwrap().is_empty());
                let headers = response.headers();
                assert_eq!(headers.contains_key("www-authenticate"), status == 401, "{kind}");
                assert_eq!(headers.contains_key("retry-after"), status == 503, "{kind}");
                assert_eq!(headers["cache-control"], "no-store");
            }
            let response = Grpc.respond(&rejection, &head());
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["grpc-status"], code, "{kind}");
            assert_eq!(response.headers()["content-type"], "application/grpc");
            assert!(response.body().is_empty());
        }
    }

    #[test]
    fn words_for_what_no_request_provokes_yet() {
        let knox = |kind| Knox.respond(&Rejection::new(kind), &head()).into_body();
        let settled = r#"{"detail":"a change to the API key is being settled; try again"}"#;
        assert_eq!(knox(RejectionKind::Suspect), settled);
    }

    /// Seen to fail with the extension left out of `Knox`.
    #[test]
    fn knox_s_challenge_names_the_scheme_alone() {
        let mut sources = Sources::default();
        sources.add_scheme("Bearer").unwrap();
        let challenges = |responder: &dyn Responder, kind| {
            let rejection = Rejection::new(kind);
            let mut response = responder.respond(&rejection, &head());
            dress(&mut response, &rejection, &sources);
            assert!(response.extensions().get::<SchemeAlone>().is_none());
            let challenges = response.headers().get_all("www-authenticate").iter();
            challenges.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let unknown = RejectionKind::Unknown;
        assert_eq!(challenges(&Knox, unknown), ["Token", "Bearer"]);
        assert_eq!(challenges(&Problem, unknown), ["Token", "Bearer error=\"invalid_token\""]);
        assert_eq!(challenges(&Knox, RejectionKind::OutOfScope), [""; 0]);
        assert_eq!(challenges(&Problem, RejectionKind::OutOfScope).len(), 1);
    }

    #[test]
    fn words_are_escaped_for_where_they_stand() {
        let odd = Rejection::new(RejectionKind::OutOfScope).with_detail("50 % of \"é\"\n");
        let response = Problem.respond(&odd, &head());
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(json["detail"], "50 % of \"é\"\n");
        let response = Grpc.respond(&odd, &head());
        assert_eq!(response.headers()["grpc-message"], "50 %25 of \"%C3%A9\"%0A");
    }
}
