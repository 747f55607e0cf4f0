//! The challenges of a refusal: `WWW-Authenticate` fields for the configured schemes.

use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};

use crate::{
    edge::credential::Sources,
    usecase::rejection::{Rejection, RejectionKind},
};

/// In a response's extensions, until it is dressed: its challenges name the schemes alone, as knox's do,
/// whatever RFC 6750 would have them add.
#[derive(Clone, Copy)]
pub(super) struct SchemeAlone;

/// Adds the challenges to a 401 that has none: RFC 9110, section 11.6.1, demands at least one.
///
/// Each has a field of its own, as some clients misread a list. They name no realm, as knox's don't.
pub(super) fn add(
    headers: &mut HeaderMap,
    rejection: &Rejection,
    sources: &Sources,
    alone: Option<SchemeAlone>,
) {
    if headers.contains_key(WWW_AUTHENTICATE) {
        return;
    }
    for scheme in sources.schemes() {
        let challenge = match alone {
            Some(SchemeAlone) => visible(scheme),
            None => challenge(scheme, rejection),
        };
        headers.append(WWW_AUTHENTICATE, challenge);
    }
    if sources.schemes().is_empty() {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey"));
    }
}

/// Adds to a 403 for a missing scope what RFC 6750, section 3, has a `Bearer` client told. No other
/// scheme has words for it, and a challenge without any would ask for the same key again.
pub(super) fn add_for_scope(headers: &mut HeaderMap, rejection: &Rejection, sources: &Sources) {
    if headers.contains_key(WWW_AUTHENTICATE) {
        return;
    }
    if let Some(scheme) = sources.schemes().iter().find(|scheme| is_bearer(scheme)) {
        headers.append(WWW_AUTHENTICATE, challenge(scheme, rejection));
    }
}

fn challenge(scheme: &str, rejection: &Rejection) -> HeaderValue {
    let mut challenge = scheme.to_owned();
    if let Some(error) = bearer_error(rejection.kind()).filter(|_| is_bearer(scheme)) {
        challenge = format!("{challenge} error=\"{error}\"");
        if let Some(scope) = rejection.scope() {
            challenge = format!("{challenge}, scope=\"{scope}\"");
        }
    }
    visible(&challenge)
}

fn visible(challenge: &str) -> HeaderValue {
    HeaderValue::try_from(challenge).expect("schemes and such scopes are visible ASCII")
}

fn is_bearer(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("bearer")
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
