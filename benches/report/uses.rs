//! G9: how often a row is written for many uses of its key in one window.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::runtime::Builder;
use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, KeyId, MemoryStore, Owner, Record, SqliteStore,
    Subject, TokenDigest,
    store::{KeyRepository, KeyStore, KeyUse, StoreError},
};

use crate::{Effort, contenders::now, print, statistics::Estimate};

const KEYS: u32 = 1_000;
const HITS: u32 = 1_000_000;
const THREADS: u32 = 2;

/// A store that counts what is written through it.
struct Counted<S> {
    store: S,
    tally: Arc<Mutex<Tally>>,
}

#[derive(Default)]
struct Tally {
    rows: u64,
    /// How often each key was to be written.
    uses: HashMap<KeyId, u64>,
}

impl<S: KeyStore> KeyStore for Counted<S> {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.store.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        self.store.find(digest).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.store.find_many(digests).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        let rows = self.store.record_uses(uses).await?;
        let mut tally = self.tally.lock().expect("nothing panics under this lock");
        tally.rows += rows;
        for key_use in uses {
            *tally.uses.entry(key_use.key).or_default() += 1;
        }
        Ok(rows)
    }
}

pub(crate) fn report(effort: Effort) {
    let (keys, hits) = if effort == Effort::Smoke { (100, 10_000) } else { (KEYS, HITS) };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let folder = tempfile::tempdir().expect("a folder for the database");
    let sqlite = runtime.block_on(async {
        let store = SqliteStore::open(folder.path().join("keys.db")).await.expect("a new file");
        [row_writes(MemoryStore::new(), keys, hits).await, row_writes(store, keys, hits).await]
    });
    let low = sqlite.iter().map(|estimate| estimate.low).fold(f64::MAX, f64::min);
    let high = sqlite.iter().map(|estimate| estimate.high).fold(0.0, f64::max);
    let worst = Estimate { value: sqlite[0].value.max(sqlite[1].value), low, high };
    print("G9", worst, "= 1", (worst.value, low, high) == (1.0, 1.0, 1.0), 3);
    println!(
        "    rows written for each of {keys} keys, {hits} hits: in memory {}",
        sqlite[0].value
    );
    println!("    and in a SQLite file {}, while slots expire and are revoked", sqlite[1].value);
}

/// The rows written for each key; as an interval, how often any key was to be written.
async fn row_writes<S: KeyRepository>(store: S, keys: u32, hits: u32) -> Estimate {
    let owner = || Owner::staff("ada");
    let mut ids = Vec::new();
    for number in 0..keys {
        let digest = TokenDigest::of(store.digest_algorithm(), &token(number));
        let key = ApiKey::new(KeyId::random(), digest, "ada".into(), now());
        ids.push(key.id());
        store
            .insert(key, owner(), None, &mut |_, _| true)
            .await
            .expect("an empty store takes a key");
    }
    let tally = Arc::new(Mutex::new(Tally::default()));
    let counted = Counted { store, tally: Arc::clone(&tally) };
    // A short life, so that slots are replaced all the while.
    let builder = Authenticator::read_only(counted).fresh_ttl(Duration::from_millis(100));
    let (auth, guard) = builder.build().expect("the settings fit");
    let clients: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (auth, ids) = (auth.clone(), ids.clone());
            tokio::spawn(async move {
                for hit in 0..hits / THREADS {
                    let number = (hit + thread) % keys;
                    auth.authenticate(&token(number)).await.expect("every key is good");
                    // A prime, so that each time another key is revoked: who reads one that is
                    // revoked again and again is told to come back.
                    if hit % 997 == 0 {
                        auth.revoke(&Subject::Key(ids[number as usize]));
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no client panics");
    }
    let left = guard.shutdown(Duration::from_secs(60)).await;
    assert_eq!((left.unwritten(), left.lost(), left.turned_away()), (0, 0, 0), "{left}");
    let tally = tally.lock().expect("nothing panics under this lock");
    let per_key = || ids.iter().map(|id| tally.uses.get(id).copied().unwrap_or(0));
    Estimate {
        value: tally.rows as f64 / f64::from(keys),
        low: per_key().min().unwrap_or(0) as f64,
        high: per_key().max().unwrap_or(0) as f64,
    }
}

fn token(number: u32) -> String {
    format!("token-{number}")
}
