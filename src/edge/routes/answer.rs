//! What the views answer with: compact JSON in Django REST framework's words, never to be stored.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderValue, Method, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::Value;

use crate::{usecase::manager::KeyError, value::trace::warn};

pub(super) fn json(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    not_stored(response)
}

/// Django REST framework's form of an error.
pub(super) fn detail(status: StatusCode, words: &str) -> Response {
    json(status, format!(r#"{{"detail":{}}}"#, Value::from(words)))
}

/// Neither body nor content type, as knox's.
pub(super) fn no_content() -> Response {
    not_stored(StatusCode::NO_CONTENT.into_response())
}

/// To a request that is no `POST`. `OPTIONS` is told no more than what is allowed: what the framework
/// says of itself there is none of ours.
pub(super) fn other_method(method: &Method) -> Response {
    if method == Method::OPTIONS {
        return no_content();
    }
    let words = format!("Method \"{method}\" not allowed.");
    detail(StatusCode::METHOD_NOT_ALLOWED, &words)
}

/// What the framework says of a failure of its own, and of a service that is not there.
const FAILED: &str = "A server error occurred.";
const UNAVAILABLE: &str = "Service temporarily unavailable, try again later.";

/// Why a change could not be made. What a store says of its own trouble is for the log, and for nobody
/// who is only logged in here.
pub(super) fn trouble(error: &KeyError) -> Response {
    if error.is_business_rule() || error.is_forbidden() {
        return detail(StatusCode::FORBIDDEN, &error.to_string());
    }
    warn("a login or logout could not be made", error);
    let (status, words) = if error.is_unavailable() || error.is_outcome_unknown() {
        (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE)
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, FAILED)
    };
    let mut response = detail(status, words);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The framework names the methods of a view in each of its answers.
pub(super) async fn allowing_post(mut response: Response) -> Response {
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    response
}

fn not_stored(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
