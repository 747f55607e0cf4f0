//! A store for this room's tests: rows in memory, any schema, and changes that go as a test says.

use std::{
    collections::HashMap,
    future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time};

use crate::{
    state::store::{
        Capabilities, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore, KeyUse, MemoryStore,
        OwnerEdit, StoreError,
    },
    value::{
        digest::{DigestAlgorithm, TokenDigest},
        key::{ApiKey, KeyId, Record},
        owner::{Owner, OwnerId},
    },
};

/// A test that waits for longer has failed; twenty tries in vain take 66 seconds.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    #[default]
    Works,
    Fails,
    /// The first change fails, the others work.
    FailsOnce,
    /// Makes the change, and answers with an error.
    Loses,
    Hangs,
    /// Until it is released, and then makes the change.
    Waits,
    /// Without a word, as it does not pass the panic hook.
    Panics,
}

/// Clones share rows and moods.
#[derive(Clone)]
pub(super) struct Desk {
    rows: MemoryStore,
    can: Capabilities,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    mood: Mutex<Mood>,
    moods: Mutex<HashMap<KeyId, Mood>>,
    /// The keys of each change that was asked for.
    asked: watch::Sender<Vec<Vec<KeyId>>>,
    released: watch::Sender<bool>,
    under_way: AtomicUsize,
    peak: AtomicUsize,
    written: AtomicUsize,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::able_to(Capabilities::all())
    }

    pub(super) fn able_to(can: Capabilities) -> Self {
        Self { rows: MemoryStore::new(), can, state: Arc::default() }
    }

    pub(super) fn becomes(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    /// How changes of this key go, whatever those of others do.
    pub(super) fn is_towards(&self, id: KeyId, mood: Mood) {
        self.state.moods.lock().unwrap().insert(id, mood);
    }

    /// Lets those go on that wait.
    pub(super) fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// The keys of each change that was asked for, in order.
    pub(super) fn asked(&self) -> Vec<Vec<KeyId>> {
        self.state.asked.borrow().clone()
    }

    /// Waits until so many changes were asked for in all.
    pub(super) async fn asked_at_least(&self, changes: usize) {
        let mut asked = self.state.asked.subscribe();
        let all = asked.wait_for(|asked| asked.len() >= changes);
        if let Ok(all) = time::timeout(PATIENCE, all).await {
            all.expect("the desk holds the sender");
            return;
        }
        panic!("asked for {} changes instead of {changes}", self.asked().len());
    }

    /// How many changes were under way at once, at most.
    pub(super) fn peak(&self) -> usize {
        self.state.peak.load(Ordering::SeqCst)
    }

    /// How many rows of keys were written since this was last asked.
    pub(super) fn written(&self) -> usize {
        self.state.written.swap(0, Ordering::SeqCst)
    }

    pub(super) async fn put(&self, key: ApiKey, owner: Owner) {
        self.rows.insert(key, owner, None, &mut |_, _| true).await.unwrap();
    }

    pub(super) async fn row(&self, id: KeyId) -> Option<ApiKey> {
        self.rows.get(id).await.unwrap().map(|record| record.key().clone())
    }

    async fn changing<T>(
        &self,
        ids: &[KeyId],
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let state = &self.state;
        state.peak.fetch_max(state.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let _under_way = UnderWay(&state.under_way);
        state.asked.send_modify(|asked| asked.push(ids.to_vec()));
        let own = ids.iter().find_map(|id| state.moods.lock().unwrap().get(id).copied());
        let mood = own.unwrap_or(*state.mood.lock().unwrap());
        match mood {
            Mood::Works => change.await,
            Mood::Fails => Err(StoreError::unavailable("down")),
            Mood::FailsOnce => {
                self.becomes(Mood::Works);
                Err(StoreError::unavailable("down"))
            }
            Mood::Loses => {
                change.await?;
                Err(StoreError::unavailable("down"))
            }
            Mood::Hangs => future::pending().await,
            Mood::Waits => {
                state.released.subscribe().wait_for(|is_released| *is_released).await.unwrap();
                change.await
            }
            Mood::Panics => std::panic::resume_unwind(Box::new("a test said so")),
        }
    }
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl KeyStore for Desk {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.rows.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        self.rows.find(digest).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.rows.find_many(digests).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        self.rows.record_uses(uses).await
    }
}

impl KeyRepository for Desk {
    fn capabilities(&self) -> Capabilities {
        self.can
    }

    async fn insert(
        &self,
        key: ApiKey,
        owner: Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        let id = [key.id()];
        self.changing(&id, self.rows.insert(key, owner, caller, judge)).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        self.rows.get(id).await
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        let written = self.changing(ids, self.rows.change(ids, caller, plan)).await?;
        self.state.written.fetch_add(written.len(), Ordering::SeqCst);
        Ok(written)
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        self.rows.list(query).await
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        self.rows.owner(id).await
    }

    async fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        self.changing(&[], self.rows.change_owner(id, caller, edit)).await
    }
}
