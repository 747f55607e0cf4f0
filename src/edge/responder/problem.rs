//! Problem details, RFC 9457: the default responder.

use bytes::Bytes;
use http::{Response, request::Parts};

use super::{Responder, response};
use crate::usecase::rejection::Rejection;

/// Answers with problem details (RFC 9457), the default: `application/problem+json` with `type`
/// (`about:blank`), `title` (the status' phrase), `status`, `detail` (what to do), and `kind`, a
/// stable word for programs ([`RejectionKind::as_str`](crate::RejectionKind::as_str)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Problem;

impl Responder for Problem {
    fn respond(&self, rejection: &Rejection, _: &Parts) -> Response<Bytes> {
        let status = rejection.status();
        // Written by hand to keep the members in the order in which people read them.
        let body = format!(
            r#"{{"type":"about:blank","title":{},"status":{},"detail":{},"kind":{}}}"#,
            json(status.canonical_reason().unwrap_or_default()),
            status.as_u16(),
            json(rejection.detail()),
            json(rejection.kind().as_str()),
        );
        response(status, "application/problem+json", body)
    }
}

/// `text` as a JSON string.
pub(super) fn json(text: &str) -> serde_json::Value {
    serde_json::Value::from(text)
}
