//! axum's `from_fn` before a quick_cache by digest, with its own hasher, and sha2.

use std::sync::Arc;

use axum::{
    body::Body,
    middleware::{Next, from_fn},
};
use chrono::{DateTime, Utc};
use http::{Request, Response};
use quick_cache::sync::Cache;
use tower_token_auth::{Record, SqliteStore, Status};

use super::{CAPACITY, Digest, LIFETIME, digest_of, holds_record, read, refused, unavailable};
use crate::{contender::Contender, setting::tokens, time::now};

struct Held {
    cache: Cache<Digest, Known>,
    store: SqliteStore,
}

/// quick_cache has no lifetimes: the entry's own end, by the reading of the clock that expiry needs anyway.
#[derive(Clone)]
struct Known {
    record: Arc<Record>,
    until: DateTime<Utc>,
}

pub(crate) fn contender(store: &SqliteStore) -> Contender {
    let held = Arc::new(Held { cache: Cache::new(CAPACITY.into()), store: store.clone() });
    // A closure rather than a `State` to extract, which would clone one more time.
    let layer = from_fn(move |request: Request<Body>, next: Next| {
        let held = Arc::clone(&held);
        async move {
            match held.admit(request).await {
                Ok(request) => next.run(request).await,
                Err(refusal) => refusal,
            }
        }
    });
    let name = "axum `from_fn`, quick_cache, sha2";
    Contender::new(name, tokens(), holds_record, layer)
}

impl Held {
    async fn admit(&self, mut request: Request<Body>) -> Result<Request<Body>, Response<Body>> {
        let digest = digest_of(&request).ok_or_else(refused)?;
        let now = now();
        let known = self.cache.get(&digest).filter(|known| now < known.until);
        let record = match known {
            Some(known) => known.record,
            None => {
                let found = read(&self.store, &digest).await.map_err(unavailable)?;
                let record = found.ok_or_else(refused)?;
                let known = Known { record: Arc::clone(&record), until: now + LIFETIME };
                self.cache.insert(digest, known);
                record
            }
        };
        if record.status_at(now) != Status::Usable {
            return Err(refused());
        }
        request.extensions_mut().insert(record);
        Ok(request)
    }
}
