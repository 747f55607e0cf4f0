//! The manager beyond the source's sentences: policies, limits, pages, owners, failures.

use tower_token_auth::{Authenticator, MemoryStore, NewKey, Owner};

#[tokio::test]
async fn a_key_that_was_created_is_admitted() {
    let (auth, _guard) = Authenticator::builder(MemoryStore::new()).build().unwrap();
    let (key, token) =
        auth.keys().create(Owner::staff("ada"), NewKey::named("first")).await.unwrap();
    let admitted = auth.authenticate(token.expose()).await.unwrap();
    assert_eq!((admitted.id(), admitted.name()), (key.id(), "first"));
}
