//! A store in memory: for tests, for demonstrations, and as the plainest reading of the contract.

mod rows;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::rows::{Draft, Rows};
use super::{
    contract::{
        Capabilities, Cursor, InsertJudge, KeyOrder, KeyPlan, KeyQuery, KeyRepository, KeyStore,
        KeyUse, KeyWrite, OwnerEdit,
    },
    error::StoreError,
};
use crate::value::{
    digest::{DigestAlgorithm, TokenDigest},
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

/// A store in memory. Clones share the rows; nothing outlives the process.
#[derive(Clone, Default)]
pub struct MemoryStore {
    algorithm: DigestAlgorithm,
    rows: Arc<Mutex<Rows>>,
}

impl MemoryStore {
    /// An empty store of SHA-256 digests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store of another algorithm's digests.
    #[must_use]
    pub fn with_algorithm(algorithm: DigestAlgorithm) -> Self {
        Self { algorithm, rows: Arc::default() }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // A panic can only come from a caller's closure, and what it had begun is undone.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.rows().keys.len();
        f.debug_struct("MemoryStore").field("keys", &keys).finish_non_exhaustive()
    }
}

impl KeyStore for MemoryStore {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        Ok(self.rows().find(&digest))
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        let rows = self.rows();
        let mut ids: Vec<_> =
            digests.iter().filter_map(|digest| rows.by_digest.get(digest)).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids.into_iter().map(|id| rows.record(&rows.keys[id])).collect())
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        let mut rows = self.rows();
        let mut written = 0;
        for key_use in uses {
            let Some(key) = rows.keys.get_mut(&key_use.key) else { continue };
            if key.last_used_at().is_none_or(|stored| stored < key_use.if_before) {
                *key = key.clone().with_last_used_at(Some(key_use.at));
                written += 1;
            }
        }
        Ok(written)
    }
}

impl KeyRepository for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    async fn insert(
        &self,
        key: ApiKey,
        owner: Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        if key.digest().algorithm() != self.algorithm {
            return Err(StoreError::not_applied_because("the digest is of another algorithm"));
        }
        if key.owner_id() != owner.id() {
            return Err(StoreError::not_applied_because("the key names another owner"));
        }
        let mut rows = self.rows();
        if rows.is_taken(&key) {
            return Err(StoreError::duplicate());
        }
        let owner = rows.owners.get(owner.id()).cloned().unwrap_or_else(|| Arc::new(owner));
        if !judge(&owner, rows.caller(caller)) {
            return Err(StoreError::not_applied());
        }
        rows.owners.insert(owner.id().clone(), owner);
        let mut draft = Draft::of(&mut rows);
        let record = draft.write(KeyWrite::Insert(key))?;
        draft.keep();
        Ok(record)
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        let rows = self.rows();
        Ok(rows.keys.get(&id).map(|key| rows.record(key)))
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        let mut rows = self.rows();
        let mut draft = Draft::of(&mut rows);
        let (mut found, mut written) = (false, Vec::new());
        for id in ids {
            let Some(family) = draft.rows().family(*id, caller) else { continue };
            found = true;
            for write in plan(&family).ok_or_else(StoreError::not_applied)? {
                written.push(draft.write(write)?);
            }
        }
        draft.keep();
        found.then_some(written).ok_or_else(StoreError::not_found)
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        let rows = self.rows();
        let owner = |id: &OwnerId| rows.owners.get(id).map(Arc::as_ref);
        let key = |(place, ()): (&Cursor, &())| &rows.keys[&place.id];
        let page = |keys: &mut dyn Iterator<Item = &ApiKey>| {
            let on_page = keys.filter(|key| query.admits(key, owner));
            on_page.take(query.limit as usize).map(|key| rows.record(key)).collect()
        };
        // The map is entered at the cursor; what is left of a page's conditions is asked key by key.
        Ok(match (query.order, query.after) {
            (KeyOrder::OldestFirst, Some(after)) => {
                page(&mut rows.in_order.range(after..).map(key))
            }
            (KeyOrder::OldestFirst, None) => page(&mut rows.in_order.iter().map(key)),
            (KeyOrder::NewestFirst, Some(after)) => {
                page(&mut rows.in_order.range(..=after).rev().map(key))
            }
            (KeyOrder::NewestFirst, None) => page(&mut rows.in_order.iter().rev().map(key)),
        })
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        Ok(self.rows().owners.get(id).map(|owner| Owner::clone(owner)))
    }

    async fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        let mut rows = self.rows();
        let stored = rows.owners.get(id).map(Arc::as_ref);
        let after = edit(stored, rows.caller(caller)).ok_or_else(StoreError::not_applied)?;
        if after.id() != id {
            return Err(StoreError::not_applied_because("an owner keeps its id"));
        }
        rows.owners.insert(id.clone(), Arc::new(after.clone()));
        Ok(after)
    }
}
