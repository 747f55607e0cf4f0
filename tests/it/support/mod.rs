//! What several subjects need: a store that can be scripted, and keys put straight into a store.
#![allow(dead_code, reason = "a build with few features leaves some helpers unused")]

pub(crate) mod http;
mod scripted;
pub(crate) mod wire;

use chrono::{DateTime, Utc};
use tower_token_auth::{
    ApiKey, Authenticator, KeyId, Owner, Token, TokenDigest, store::KeyRepository,
};

pub(crate) use scripted::Scripted;

/// A token that [`issue`] takes where a test has no wish of its own.
pub(crate) const TOKEN: &str = "s3cret-token-of-the-tests";

/// Puts an active key named `key` for `token` into the store; its owner is the active staff
/// owner `ada`.
pub(crate) async fn issue(store: &impl KeyRepository, token: &str) -> ApiKey {
    issue_with(store, token, Owner::staff("ada"), |key| key).await
}

/// Puts a key for `token` into the store, after `edit` changed it. The owner's row is made if
/// there is none; no policy judges it.
pub(crate) async fn issue_with(
    store: &impl KeyRepository,
    token: &str,
    owner: Owner,
    edit: impl FnOnce(ApiKey) -> ApiKey,
) -> ApiKey {
    let key = ApiKey::new(KeyId::random(), digest(store, token), owner.id().clone(), long_ago())
        .with_token_key(Token::parse(token).expect("a test's token").token_key())
        .with_name("key");
    let record = store.insert(edit(key), owner, &mut |_| true).await.expect("a fresh token");
    record.key().clone()
}

/// The digest by which `store` knows `token`.
pub(crate) fn digest(store: &impl KeyRepository, token: &str) -> TokenDigest {
    TokenDigest::of(store.digest_algorithm(), token)
}

/// An authenticator over `store` with every default. Its recorder is detached.
pub(crate) fn authenticator(store: impl KeyRepository) -> Authenticator {
    let (auth, _guard) = Authenticator::builder(store).build().expect("the defaults are sound");
    auth
}

/// An authenticator over a scripted store that holds [`TOKEN`].
pub(crate) async fn scripted() -> (Authenticator, Scripted) {
    let store = Scripted::new();
    issue(&store, TOKEN).await;
    (authenticator(store.clone()), store)
}

/// A fixed moment in the past.
pub(crate) fn long_ago() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a date of this century")
}
