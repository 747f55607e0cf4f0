//! A store that knows every token, and authenticators that have read many of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::runtime::{Builder, Runtime};
use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, KeyId, Owner, Record, Token, TokenDigest,
    store::{KeyStore, KeyUse, StoreError},
};

use crate::contenders::now;

const OWNERS: u32 = 1_000;
/// Longer than any report takes: no slot is read anew.
const LIFE: Duration = Duration::from_secs(3_600);

/// A store that knows every token and keeps nothing but its owners, which their keys share. A key
/// has a name of 20 characters and no other text, or what our own stores read beside it.
pub(crate) struct Everything {
    owners: Vec<Arc<Owner>>,
    made_at: DateTime<Utc>,
    has_token_keys: bool,
    /// How many keys were asked for.
    pub(crate) reads: Arc<AtomicU64>,
}

impl Everything {
    pub(crate) fn new(has_token_keys: bool) -> Self {
        let owners = (0..OWNERS).map(|number| Arc::new(Owner::staff(number))).collect();
        Self { owners, made_at: now(), has_token_keys, reads: Arc::default() }
    }

    fn record(&self, digest: TokenDigest) -> Record {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let head = digest.as_bytes().first_chunk().expect("a digest has at least 32 bytes");
        let number = u32::from_ne_bytes(*head);
        let owner = &self.owners[(number % OWNERS) as usize];
        let key = ApiKey::new(KeyId::random(), digest, owner.id().clone(), self.made_at)
            .with_name(format!("{number:020}"))
            .with_expires_at(Some(self.made_at + chrono::TimeDelta::days(30)))
            // Used just now: the recorder has nothing to keep of it.
            .with_last_used_at(Some(self.made_at));
        let key = match Token::parse("0123456789abcdef") {
            Ok(token) if self.has_token_keys => key.with_token_key(token.token_key()),
            _ => key,
        };
        Record::new(key, Arc::clone(owner))
    }
}

impl KeyStore for Everything {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        DigestAlgorithm::Sha256
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        Ok(Some(self.record(digest)))
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        Ok(digests.iter().map(|digest| self.record(*digest)).collect())
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        Ok(uses.len() as u64)
    }
}

/// An authenticator that has read the keys of the tokens below `keys`, and a runtime for it.
pub(crate) struct Cached {
    pub(crate) runtime: Runtime,
    pub(crate) auth: Authenticator,
    pub(crate) keys: usize,
}

impl Cached {
    pub(crate) fn new(keys: usize) -> Self {
        Self::with_capacity(keys, keys)
    }

    pub(crate) fn with_capacity(keys: usize, capacity: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let auth = authenticator(Everything::new(false), capacity);
        runtime.block_on(async {
            for number in 0..keys {
                auth.authenticate(&token(number)).await.expect("every key is good");
            }
        });
        Self { runtime, auth, keys }
    }
}

/// An authenticator over the store.
pub(crate) fn authenticator(store: Everything, capacity: usize) -> Authenticator {
    let builder = Authenticator::read_only(store).capacity(capacity).fresh_ttl(LIFE);
    let (auth, guard) = builder.build().expect("the settings fit");
    // Dropping the guard detaches the recorder: it goes on, as in a running service.
    drop(guard);
    auth
}

/// The token of a number: of 64 characters, as knox makes them.
pub(crate) fn token(number: usize) -> String {
    format!("{number:064x}")
}
