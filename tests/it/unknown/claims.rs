//! Imports whose place is kept by what a lost one left, and stores that answer what nobody asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time;
use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, ImportedKey, KeyId, MemoryStore, NewKey, Owner,
    OwnerId, Record, TokenDigest,
    store::{
        Capabilities, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit,
        StoreError,
    },
};

use crate::support::{TOKEN, authenticator, digest, issue};

/// Breaks as it is told.
#[derive(Clone, Default)]
struct Frail {
    rows: MemoryStore,
    loses_inserts: Arc<AtomicBool>,
    has_no_changes: Arc<AtomicBool>,
    stranger: Option<TokenDigest>,
}

impl KeyStore for Frail {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.rows.digest_algorithm()
    }
    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        self.rows.find(self.stranger.unwrap_or(digest)).await
    }
    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.rows.find_many(digests).await
    }
    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        self.rows.record_uses(uses).await
    }
}

impl KeyRepository for Frail {
    fn capabilities(&self) -> Capabilities {
        self.rows.capabilities()
    }
    async fn insert(
        &self,
        key: ApiKey,
        owner: Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        if self.loses_inserts.swap(false, Ordering::SeqCst) {
            assert!(judge(&owner, None));
            return Err(StoreError::unavailable("the connection broke before the commit"));
        }
        self.rows.insert(key, owner, caller, judge).await
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
        if self.has_no_changes.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("gone again"));
        }
        self.rows.change(ids, caller, plan).await
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
        self.rows.change_owner(id, caller, edit).await
    }
}

/// What kept a lost import's place outlives its process: whoever imports again takes it away.
///
/// Negative control: without the look at `is_claim`, the import is told to be there already, and nobody
/// is admitted.
#[tokio::test(start_paused = true)]
async fn an_import_that_was_broken_off_is_simply_run_again() {
    let store = Frail::default();
    let hex = digest(&store, TOKEN).to_hex();
    let imported = || ImportedKey::new(hex.clone(), Owner::staff("ada")).like(NewKey::named("ci"));
    store.loses_inserts.store(true, Ordering::SeqCst);
    store.has_no_changes.store(true, Ordering::SeqCst);
    let (auth, guard) = Authenticator::builder(store.clone()).build().unwrap();
    assert!(auth.keys().import(imported()).await.unwrap_err().is_outcome_unknown());
    // It ends as a service does on a bad day.
    guard.shutdown(Duration::from_secs(1)).await;
    drop(auth);
    time::sleep(Duration::from_secs(60)).await;
    // The next process, with the store in the best of health.
    store.has_no_changes.store(false, Ordering::SeqCst);
    let again = authenticator(store.clone());
    let imported = again.keys().import(imported()).await.unwrap();
    let key = imported.record.key();
    let said = (imported.is_new, key.is_active(), key.expires_at());
    assert!(again.authenticate(TOKEN).await.is_ok(), "(is_new, is_active, expires_at): {said:?}");
}

/// A store that breaks its contract, and answers with another key's record.
///
/// Negative control: without the comparison in `Cache::ask`, the stranger is admitted.
#[tokio::test]
async fn nobody_is_admitted_as_a_stranger() {
    let mut store = Frail::default();
    let key = issue(&store, TOKEN).await;
    store.stranger = Some(*key.digest());
    let auth = authenticator(store);
    let decision = auth.authenticate("somebody-else-s-token").await;
    assert!(decision.is_err(), "admitted as {:?}", decision.map(|key| key.id()));
}

/// The same by another process while the first one still tries: what it imported stands.
///
/// Negative control: without the look at `is_claim`, it is told that the key is there, and then there is none.
#[tokio::test(start_paused = true)]
async fn an_import_by_another_process_is_not_deleted_by_a_repair() {
    let store = Frail::default();
    let hex = digest(&store, TOKEN).to_hex();
    let imported = || ImportedKey::new(hex.clone(), Owner::staff("ada")).like(NewKey::named("ci"));
    store.loses_inserts.store(true, Ordering::SeqCst);
    store.has_no_changes.store(true, Ordering::SeqCst);
    let one = authenticator(store.clone());
    assert!(one.keys().import(imported()).await.unwrap_err().is_outcome_unknown());
    while store.find(digest(&store, TOKEN)).await.unwrap().is_none() {
        time::sleep(Duration::from_millis(5)).await;
    }
    let other = authenticator(store.clone());
    let said = other.keys().import(imported()).await.map(|imported| imported.is_new);
    store.has_no_changes.store(false, Ordering::SeqCst);
    time::sleep(Duration::from_secs(60)).await;
    let stored = store.find(digest(&store, TOKEN)).await.unwrap();
    assert!(said.is_err() || stored.is_some(), "the other was told {said:?}, and there is no key");
}
