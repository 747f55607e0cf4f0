//! `login/`: a key for whom the check lets in.

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, header::AUTHORIZATION};

use super::{super::knox::KnoxSettings, answer};
use crate::{
    usecase::manager::{KeyError, KeyManager},
    value::{key::Record, owner::OwnerId, token::Token},
};

/// knox's words, under a member of its own.
const LIMIT: &str = r#"{"error":"Maximum amount of tokens allowed per user exceeded."}"#;
/// What the framework says of a user who can't log in.
const NOBODY: &str = "User inactive or deleted.";

pub(super) struct Login<C> {
    pub(super) keys: KeyManager,
    pub(super) settings: KnoxSettings,
    pub(super) check: C,
}

impl<C> Login<C> {
    pub(super) async fn answer<F, O, R>(&self, mut request: Request) -> Response
    where
        C: Fn(Request) -> F,
        F: Future<Output = Result<O, R>>,
        O: Into<OwnerId>,
        R: IntoResponse,
    {
        let method = request.method().clone();
        mark_sensitive(request.headers_mut());
        let owner: OwnerId = match (self.check)(request).await {
            Ok(owner) => owner.into(),
            Err(refusal) => return refusal.into_response(),
        };
        if method != Method::POST {
            return answer::other_method(&method);
        }
        match self.log_in(&owner).await {
            Ok(Some((key, token))) => {
                answer::json(StatusCode::OK, self.settings.login_body(&key, &token))
            }
            Ok(None) => answer::json(StatusCode::FORBIDDEN, LIMIT.to_owned()),
            Err(error) => self.refused(&owner, &error).await,
        }
    }

    /// `None` where the owner has as many keys as they may.
    async fn log_in(&self, owner: &OwnerId) -> Result<Option<(Record, Token)>, KeyError> {
        if let Some(limit) = self.settings.limit()
            && self.keys.has_unexpired(owner, limit).await?
        {
            return Ok(None);
        }
        self.keys.create(owner.clone(), self.settings.new_key()).await.map(Some)
    }

    /// In the framework's words where the user is gone or inactive, whatever rule noticed it.
    async fn refused(&self, owner: &OwnerId, error: &KeyError) -> Response {
        let is_nobody = error.is_not_found()
            || error.is_business_rule()
                && self.keys.owner(owner.clone()).await.is_ok_and(|owner| !owner.is_active());
        if is_nobody {
            return answer::detail(StatusCode::FORBIDDEN, NOBODY);
        }
        answer::trouble(error)
    }
}

/// Before the check sees it, which may log the head: a password is in there.
fn mark_sensitive(headers: &mut HeaderMap) {
    let fields = headers.iter_mut().filter(|(name, _)| *name == AUTHORIZATION);
    fields.for_each(|(_, value)| value.set_sensitive(true));
}
