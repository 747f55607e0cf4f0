//! What only the SQLite store promises; what every store promises is in `store`.

use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, Owner, SqliteStore, TokenDigest,
    store::{KeyRepository as _, KeyStore as _},
};

#[tokio::test]
async fn a_key_outlives_the_store_that_wrote_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let digest = TokenDigest::of(DigestAlgorithm::Sha256, "t");
    let at = "2026-01-02T03:04:05.678901Z".parse().unwrap();
    let key = ApiKey::new(KeyId::random(), digest, "ada".into(), at).with_name("first");
    let store = SqliteStore::open(&path).await.unwrap();
    store.insert(key, Owner::staff("ada").with_accounts(["a", "b"]), &mut |_| true).await.unwrap();
    store.close().await;

    let store = SqliteStore::open(&path).await.unwrap();
    let record = store.find(digest).await.unwrap().unwrap();
    assert_eq!(record.key().name(), "first");
    assert_eq!(record.key().created_at(), at);
    assert_eq!(record.owner(), &Owner::staff("ada").with_accounts(["a", "b"]));
}
