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

use crate::usecase::manager::KeyError;

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

/// Why a change could not be made. The words of such an error hold no secret.
pub(super) fn trouble(error: &KeyError) -> Response {
    let status = if error.is_business_rule() || error.is_forbidden() {
        StatusCode::FORBIDDEN
    } else if error.is_unavailable() || error.is_outcome_unknown() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let mut response = detail(status, &error.to_string());
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
