//! Why nobody is logged in: Django REST framework's answers, for whoever checks a login's credential.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE};

use super::answer;

/// A login that is refused, as Django REST framework refuses it, with
/// `Authentication credentials were not provided.` unless other [words](Self::saying) are given.
#[derive(Clone, Debug)]
#[must_use = "return it from the check of a login"]
pub struct LoginRefusal {
    is_challenge: bool,
    words: Cow<'static, str>,
}

impl LoginRefusal {
    /// 403 without a challenge: what a site answers whose first authentication class asks for nothing,
    /// as is the framework's default.
    pub fn forbidden() -> Self {
        let words = Cow::Borrowed("Authentication credentials were not provided.");
        Self { is_challenge: false, words }
    }

    /// 401 and `Basic realm="api"`: what a site answers whose first authentication class is Basic.
    pub fn basic() -> Self {
        Self { is_challenge: true, ..Self::forbidden() }
    }

    /// Says something else, such as the framework's `Invalid username/password.`
    pub fn saying(mut self, words: impl Into<Cow<'static, str>>) -> Self {
        self.words = words.into();
        self
    }
}

impl IntoResponse for LoginRefusal {
    fn into_response(self) -> Response {
        if !self.is_challenge {
            return answer::detail(StatusCode::FORBIDDEN, &self.words);
        }
        let mut response = answer::detail(StatusCode::UNAUTHORIZED, &self.words);
        let challenge = HeaderValue::from_static(r#"Basic realm="api""#);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        response
    }
}
