//! `logout/` and `logoutall/`: the end of a key, or of all that log its user in.

use axum::response::Response;
use http::Method;

use super::answer;
use crate::{
    usecase::{authenticated::AuthenticatedKey, authenticator::Authenticator},
    value::subject::Subject,
};

/// Which keys end.
#[derive(Clone, Copy)]
pub(super) enum Logout {
    Here,
    Everywhere,
}

impl Logout {
    pub(super) async fn answer(
        self,
        auth: &Authenticator,
        method: &Method,
        key: &AuthenticatedKey,
    ) -> Response {
        if method != Method::POST {
            return answer::other_method(method);
        }
        let (ended, subject) = match self {
            Self::Here => (auth.keys().delete(key.id()).await.map(drop), Subject::Key(key.id())),
            Self::Everywhere => {
                let owner = key.owner().id();
                (auth.keys().delete_all(owner).await.map(drop), Subject::Owner(owner.clone()))
            }
        };
        match ended {
            Err(error) if !error.is_not_found() => return answer::trouble(&error),
            // Where somebody else was faster, knox does not mind; but nobody has told us of it yet.
            _ => auth.revoke(&subject),
        }
        answer::no_content()
    }
}
