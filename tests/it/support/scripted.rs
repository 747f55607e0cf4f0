//! A store in memory that counts its reads, and holds, delays or fails them as a test says.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, MemoryStore, Owner, OwnerId, Record, TokenDigest,
    store::{
        Capabilities, KeyEdit, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit, OwnerJudge,
        StoreError,
    },
};

/// A [`MemoryStore`] under a test's control. Clones share rows and script.
///
/// A read is counted, waits at the first gate, lets the delay pass, fails if it is to, reads the
/// rows, waits at the second gate, and answers. Changes are never held.
#[derive(Clone)]
pub(crate) struct Scripted {
    rows: MemoryStore,
    script: Arc<Script>,
}

struct Script {
    begun: watch::Sender<usize>,
    reads_held: watch::Sender<bool>,
    answers_held: watch::Sender<bool>,
    delay: Mutex<Duration>,
    failing: AtomicBool,
    uses: Mutex<Vec<KeyUse>>,
}

impl Scripted {
    pub(crate) fn new() -> Self {
        Self::over(MemoryStore::new())
    }

    pub(crate) fn over(rows: MemoryStore) -> Self {
        let script = Script {
            begun: watch::Sender::new(0),
            reads_held: watch::Sender::new(false),
            answers_held: watch::Sender::new(false),
            delay: Mutex::default(),
            failing: AtomicBool::new(false),
            uses: Mutex::default(),
        };
        Self { rows, script: Arc::new(script) }
    }

    /// Holds every read before it looks at the rows, until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.script.reads_held.send_replace(true);
    }

    /// Holds every read after it looked, so that its answer may be outdated when it arrives.
    pub(crate) fn hold_answers(&self) {
        self.script.answers_held.send_replace(true);
    }

    /// Opens both gates.
    pub(crate) fn release(&self) {
        self.script.reads_held.send_replace(false);
        self.script.answers_held.send_replace(false);
    }

    /// Makes reads fail as unavailable, or no longer.
    pub(crate) fn fail(&self, failing: bool) {
        self.script.failing.store(failing, Ordering::SeqCst);
    }

    /// Makes each read take `delay` by tokio's clock.
    pub(crate) fn delay(&self, delay: Duration) {
        *self.script.delay.lock().unwrap() = delay;
    }

    /// How many reads were begun: one for a `find`, and one for a `find_many`.
    pub(crate) fn reads(&self) -> usize {
        *self.script.begun.borrow()
    }

    /// Waits until `count` reads were begun in all.
    pub(crate) async fn begun(&self, count: usize) {
        let mut begun = self.script.begun.subscribe();
        begun.wait_for(|reads| *reads >= count).await.expect("the store holds the sender");
    }

    /// Every use that was handed to `record_uses`, in order.
    pub(crate) fn uses(&self) -> Vec<KeyUse> {
        self.script.uses.lock().unwrap().clone()
    }

    async fn before_read(&self) -> Result<(), StoreError> {
        self.script.begun.send_modify(|reads| *reads += 1);
        open(&self.script.reads_held).await;
        let delay = *self.script.delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.script.failing.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("a test said so"));
        }
        Ok(())
    }
}

async fn open(gate: &watch::Sender<bool>) {
    gate.subscribe().wait_for(|held| !held).await.expect("the store holds the sender");
}

impl KeyStore for Scripted {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.rows.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        self.before_read().await?;
        let found = self.rows.find(digest).await;
        open(&self.script.answers_held).await;
        found
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.before_read().await?;
        let found = self.rows.find_many(digests).await;
        open(&self.script.answers_held).await;
        found
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        if self.script.failing.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("a test said so"));
        }
        self.script.uses.lock().unwrap().extend_from_slice(uses);
        self.rows.record_uses(uses).await
    }
}

impl KeyRepository for Scripted {
    fn capabilities(&self) -> Capabilities {
        self.rows.capabilities()
    }

    async fn insert(
        &self,
        key: ApiKey,
        owner: Owner,
        judge: OwnerJudge<'_>,
    ) -> Result<Record, StoreError> {
        self.rows.insert(key, owner, judge).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        self.rows.get(id).await
    }

    async fn update(&self, id: KeyId, edit: KeyEdit<'_>) -> Result<Record, StoreError> {
        self.rows.update(id, edit).await
    }

    async fn delete(&self, id: KeyId) -> Result<Record, StoreError> {
        self.rows.delete(id).await
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        self.rows.list(query).await
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        self.rows.owner(id).await
    }

    async fn insert_owner(&self, owner: Owner) -> Result<(), StoreError> {
        self.rows.insert_owner(owner).await
    }

    async fn update_owner(&self, id: &OwnerId, edit: OwnerEdit<'_>) -> Result<Owner, StoreError> {
        self.rows.update_owner(id, edit).await
    }
}

#[tokio::test]
async fn a_held_read_is_counted_and_answers_once_it_is_released() {
    let store = Scripted::new();
    let key = super::issue(&store, super::TOKEN).await;
    store.hold();
    let reader = store.clone();
    let read = tokio::spawn(async move { reader.find(*key.digest()).await });
    store.begun(1).await;
    assert!(!read.is_finished());
    store.release();
    assert!(read.await.unwrap().unwrap().is_some());
    store.fail(true);
    assert!(store.find(super::digest(&store, "other")).await.unwrap_err().is_unavailable());
    assert_eq!(store.reads(), 2);
}
