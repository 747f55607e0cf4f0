//! django-rest-knox's answers, word for word.

use bytes::Bytes;
use http::{Response, request::Parts};

use super::{Responder, challenge::SchemeAlone, problem::json, response};
use crate::usecase::rejection::{Rejection, RejectionKind};

/// Answers as django-rest-knox does: compact `{"detail":"…"}` in knox's own words, for clients that
/// know them, and challenges that name the scheme alone. What knox has no words for is said in ours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Knox;

impl Responder for Knox {
    fn respond(&self, rejection: &Rejection, _: &Parts) -> Response<Bytes> {
        let body = format!(r#"{{"detail":{}}}"#, json(words(rejection)));
        let mut response = response(rejection.status(), "application/json", body);
        response.extensions_mut().insert(SchemeAlone);
        response
    }
}

fn words(rejection: &Rejection) -> &str {
    // A server before knox joins several fields to one.
    match rejection.joined().unwrap_or(rejection.kind()) {
        RejectionKind::Missing | RejectionKind::WrongScheme => {
            "Authentication credentials were not provided."
        }
        RejectionKind::Malformed if rejection.lacks_token() => {
            "Invalid token header. No credentials provided."
        }
        RejectionKind::Malformed | RejectionKind::Several => {
            "Invalid token header. Token string should not contain spaces."
        }
        RejectionKind::NotUtf8 => {
            "Invalid token header. Token string should not contain invalid characters."
        }
        RejectionKind::TooLong | RejectionKind::Unknown | RejectionKind::Expired => {
            "Invalid token."
        }
        RejectionKind::KeyInactive => "Api key is not activated.",
        RejectionKind::OwnerInactive => "User inactive or deleted.",
        RejectionKind::OutOfScope => "You do not have permission to perform this action.",
        RejectionKind::StoreUnavailable
        | RejectionKind::TimedOut
        | RejectionKind::Overloaded
        | RejectionKind::Suspect => rejection.detail(),
    }
}
