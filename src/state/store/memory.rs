//! A store in memory: for tests, for demonstrations, and as the plainest reading of the contract.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    contract::{
        Capabilities, Cursor, KeyEdit, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit,
        OwnerJudge,
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

/// One lock over all rows makes every method one transaction.
#[derive(Default)]
struct Rows {
    keys: HashMap<KeyId, ApiKey>,
    /// Invariant: holds exactly the digests of `keys`.
    by_digest: HashMap<TokenDigest, KeyId>,
    /// Invariant: holds exactly the places of `keys`, in the order of a listing.
    in_order: BTreeMap<Cursor, ()>,
    /// Invariant: holds the owner of every key.
    owners: HashMap<OwnerId, Arc<Owner>>,
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
        // A panic can only come from a caller's closure, before the rows are touched.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.rows().keys.len();
        f.debug_struct("MemoryStore").field("keys", &keys).finish_non_exhaustive()
    }
}

impl Rows {
    fn record(&self, key: &ApiKey) -> Record {
        Record::new(key.clone(), Arc::clone(&self.owners[key.owner_id()]))
    }

    fn find(&self, digest: &TokenDigest) -> Option<Record> {
        self.by_digest.get(digest).map(|id| self.record(&self.keys[id]))
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
        judge: OwnerJudge<'_>,
    ) -> Result<Record, StoreError> {
        if key.digest().algorithm() != self.algorithm {
            return Err(StoreError::not_applied_because("the digest is of another algorithm"));
        }
        if key.owner_id() != owner.id() {
            return Err(StoreError::not_applied_because("the key names another owner"));
        }
        let mut rows = self.rows();
        if rows.keys.contains_key(&key.id()) || rows.by_digest.contains_key(key.digest()) {
            return Err(StoreError::duplicate());
        }
        let owner = rows.owners.get(owner.id()).cloned().unwrap_or_else(|| Arc::new(owner));
        if !judge(&owner) {
            return Err(StoreError::not_applied());
        }
        let record = Record::new(key.clone(), Arc::clone(&owner));
        rows.owners.insert(owner.id().clone(), owner);
        rows.by_digest.insert(*key.digest(), key.id());
        rows.in_order.insert(Cursor::behind(&key), ());
        rows.keys.insert(key.id(), key);
        Ok(record)
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        let rows = self.rows();
        Ok(rows.keys.get(&id).map(|key| rows.record(key)))
    }

    async fn update(&self, id: KeyId, edit: KeyEdit<'_>) -> Result<Record, StoreError> {
        let mut rows = self.rows();
        let before = rows.keys.get(&id).ok_or_else(StoreError::not_found)?;
        let record = rows.record(before);
        let edited = edit(&record).ok_or_else(StoreError::not_applied)?;
        let after = edited.keeping_identity_of(before);
        let record = rows.record(&after);
        rows.keys.insert(id, after);
        Ok(record)
    }

    async fn delete(&self, id: KeyId) -> Result<Record, StoreError> {
        let mut rows = self.rows();
        let key = rows.keys.remove(&id).ok_or_else(StoreError::not_found)?;
        rows.by_digest.remove(key.digest());
        rows.in_order.remove(&Cursor::behind(&key));
        Ok(rows.record(&key))
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let rows = self.rows();
        let start = query.after.map_or(Unbounded, Excluded);
        let places = rows.in_order.range((start, Unbounded)).take(query.limit as usize);
        Ok(places.map(|(place, ())| rows.record(&rows.keys[&place.id])).collect())
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        Ok(self.rows().owners.get(id).map(|owner| Owner::clone(owner)))
    }

    async fn insert_owner(&self, owner: Owner) -> Result<(), StoreError> {
        let mut rows = self.rows();
        if rows.owners.contains_key(owner.id()) {
            return Err(StoreError::duplicate());
        }
        rows.owners.insert(owner.id().clone(), Arc::new(owner));
        Ok(())
    }

    async fn update_owner(&self, id: &OwnerId, edit: OwnerEdit<'_>) -> Result<Owner, StoreError> {
        let mut rows = self.rows();
        let before = rows.owners.get(id).ok_or_else(StoreError::not_found)?;
        let after = edit(before).ok_or_else(StoreError::not_applied)?;
        if after.id() != id {
            return Err(StoreError::not_applied_because("an owner keeps its id"));
        }
        rows.owners.insert(id.clone(), Arc::new(after.clone()));
        Ok(after)
    }
}
