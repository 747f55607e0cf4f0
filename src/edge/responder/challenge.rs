//! The challenges of a 401: one `WWW-Authenticate` field for each configured scheme.

use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};

use crate::{edge::credential::Sources, usecase::rejection::RejectionKind};

/// Adds the challenges to a 401 that has none: RFC 9110, section 11.6.1, demands at least one.
///
/// Each has a field of its own, as some clients misread a list. They name no realm, as knox's don't.
pub(super) fn add(headers: &mut HeaderMap, kind: RejectionKind, sources: &Sources) {
    if headers.contains_key(WWW_AUTHENTICATE) {
        return;
    }
    for scheme in sources.schemes() {
        let error = bearer_error(kind).filter(|_| scheme.eq_ignore_ascii_case("bearer"));
        let challenge = match error {
            Some(error) => HeaderValue::try_from(format!("{scheme} error=\"{error}\"")),
            None => HeaderValue::from_str(scheme),
        };
        headers.append(WWW_AUTHENTICATE, challenge.expect("a scheme is visible ASCII"));
    }
    if sources.schemes().is_empty() {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey"));
    }
}

/// RFC 6750, section 3.1. A request without a credential gets no error code.
fn bearer_error(kind: RejectionKind) -> Option<&'static str> {
    match kind {
        RejectionKind::Malformed | RejectionKind::Several => Some("invalid_request"),
        RejectionKind::TooLong
        | RejectionKind::NotUtf8
        | RejectionKind::Unknown
        | RejectionKind::Expired
        | RejectionKind::KeyInactive
        | RejectionKind::OwnerInactive => Some("invalid_token"),
        RejectionKind::OutOfScope => Some("insufficient_scope"),
        RejectionKind::Missing
        | RejectionKind::WrongScheme
        | RejectionKind::StoreUnavailable
        | RejectionKind::TimedOut
        | RejectionKind::Overloaded
        | RejectionKind::Suspect => None,
    }
}
