//! tower-http's `AsyncRequireAuthorization` before a moka cache by digest, with sha2.
//!
//! A closure in place of a type, so that the future is not boxed: the quickest form that tower-http offers.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use axum::body::Body;
use http::Request;
use moka::{future, sync};
use tower_http::auth::AsyncRequireAuthorizationLayer;
use tower_token_auth::{Record, SqliteStore};

use super::{
    CAPACITY, Digest, LIFETIME, admit, digest_of, holds_record, read, refused, unavailable,
};
use crate::{contender::Contender, setting::tokens};

/// What a request needs, behind one count of holders.
struct Held<C> {
    cache: C,
    store: SqliteStore,
}

/// As moka's documentation has it for an asynchronous service.
pub(crate) fn usual(store: &SqliteStore) -> Contender {
    type Cache = future::Cache<Digest, Arc<Record>>;
    let cache: Cache =
        Cache::builder().max_capacity(CAPACITY.into()).time_to_live(LIFETIME).build();
    let held = Arc::new(Held { cache, store: store.clone() });
    let layer = AsyncRequireAuthorizationLayer::new(move |request: Request<Body>| {
        let held = Arc::clone(&held);
        async move {
            let digest = digest_of(&request).ok_or_else(refused)?;
            let record = match held.cache.get(&digest).await {
                Some(record) => record,
                None => {
                    let found = read(&held.store, &digest).await.map_err(unavailable)?;
                    let record = found.ok_or_else(refused)?;
                    held.cache.insert(digest, Arc::clone(&record)).await;
                    record
                }
            };
            admit(request, record)
        }
    });
    let name = "tower-http, moka::future, sha2";
    Contender::new(name, tokens(), holds_record, layer)
}

/// The same with moka's synchronous cache, and with the digest as its own hash.
pub(crate) fn tuned(store: &SqliteStore) -> Contender {
    type Cache = sync::Cache<Digest, Arc<Record>, BuildHasherDefault<FirstEight>>;
    let cache: Cache = sync::Cache::builder()
        .max_capacity(CAPACITY.into())
        .time_to_live(LIFETIME)
        .build_with_hasher(BuildHasherDefault::default());
    let held = Arc::new(Held { cache, store: store.clone() });
    let layer = AsyncRequireAuthorizationLayer::new(move |request: Request<Body>| {
        let held = Arc::clone(&held);
        async move {
            let digest = digest_of(&request).ok_or_else(refused)?;
            let record = match held.cache.get(&digest) {
                Some(record) => record,
                None => {
                    let found = read(&held.store, &digest).await.map_err(unavailable)?;
                    let record = found.ok_or_else(refused)?;
                    held.cache.insert(digest, Arc::clone(&record));
                    record
                }
            };
            admit(request, record)
        }
    });
    let name = "tower-http, moka::sync, own hasher, sha2";
    Contender::new(name, tokens(), holds_record, layer)
}

/// A digest is as good as random: its first eight bytes are a hash. Whoever looks for tokens whose
/// digests collide gains nothing, as only tokens of good keys come into the cache.
#[derive(Default)]
struct FirstEight(u64);

impl Hasher for FirstEight {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    // The length, which is always the same.
    fn write_usize(&mut self, _: usize) {}
}
