//! `tower-token-auth` with everything on: each of its features, the feed, and last uses recorded.

use tower_token_auth::{AuthenticatedKey, Authenticator, SqliteStore, TokenAuthLayer};

use crate::{contender::Contender, setting::tokens};

pub(crate) fn contender(store: &SqliteStore) -> Contender {
    let builder = Authenticator::builder(store.clone()).feed(store.feed());
    let (auth, guard) = builder.build().expect("the defaults fit");
    // Dropping the guard detaches the recorder: it goes on, as in a running service.
    drop(guard);
    let holds = |extensions: &http::Extensions| extensions.get::<AuthenticatedKey>().is_some();
    Contender::new("tower-token-auth", tokens(), holds, TokenAuthLayer::new(auth))
}
