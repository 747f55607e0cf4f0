//! Stores as a user would write them: a table with a lock, and an export that can only be read.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::Mutex;
use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, Owner, OwnerId, Record, TokenDigest,
    store::{
        Capabilities, Cursor, KeyEdit, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit,
        OwnerJudge, StoreError,
    },
};

/// A plain table of keys and one of owners.
#[derive(Default)]
pub(super) struct Table(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    keys: HashMap<KeyId, ApiKey>,
    owners: HashMap<OwnerId, Owner>,
}

impl Rows {
    fn record(&self, key: &ApiKey) -> Record {
        Record::new(key.clone(), self.owners[key.owner_id()].clone())
    }

    fn by_digest(&self, digest: &TokenDigest) -> Option<&ApiKey> {
        self.keys.values().find(|key| key.digest() == digest)
    }
}

impl KeyStore for Table {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        DigestAlgorithm::Sha256
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        let rows = self.0.lock().await;
        Ok(rows.by_digest(&digest).map(|key| rows.record(key)))
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        let rows = self.0.lock().await;
        let wanted = rows.keys.values().filter(|key| digests.contains(key.digest()));
        Ok(wanted.map(|key| rows.record(key)).collect())
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        let mut rows = self.0.lock().await;
        let mut written = 0;
        for key_use in uses {
            if let Some(key) = rows.keys.get_mut(&key_use.key)
                && key.last_used_at().is_none_or(|at| at < key_use.if_before)
            {
                *key = key.clone().with_last_used_at(Some(key_use.at));
                written += 1;
            }
        }
        Ok(written)
    }
}

impl KeyRepository for Table {
    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    async fn insert(
        &self,
        key: ApiKey,
        owner: Owner,
        judge: OwnerJudge<'_>,
    ) -> Result<Record, StoreError> {
        let mut rows = self.0.lock().await;
        if rows.keys.contains_key(&key.id()) || rows.by_digest(key.digest()).is_some() {
            return Err(StoreError::duplicate());
        }
        if !judge(rows.owners.get(owner.id()).unwrap_or(&owner)) {
            return Err(StoreError::not_applied());
        }
        rows.owners.entry(owner.id().clone()).or_insert(owner);
        rows.keys.insert(key.id(), key.clone());
        Ok(rows.record(&key))
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        let rows = self.0.lock().await;
        Ok(rows.keys.get(&id).map(|key| rows.record(key)))
    }

    async fn update(&self, id: KeyId, edit: KeyEdit<'_>) -> Result<Record, StoreError> {
        let mut rows = self.0.lock().await;
        let before = rows.keys.get(&id).ok_or_else(StoreError::not_found)?;
        let after = edit(&rows.record(before)).ok_or_else(StoreError::not_applied)?;
        let after = after.keeping_identity_of(before);
        rows.keys.insert(id, after.clone());
        Ok(rows.record(&after))
    }

    async fn delete(&self, id: KeyId) -> Result<Record, StoreError> {
        let mut rows = self.0.lock().await;
        let key = rows.keys.remove(&id).ok_or_else(StoreError::not_found)?;
        Ok(rows.record(&key))
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        let rows = self.0.lock().await;
        let mut keys: Vec<_> = rows.keys.values().collect();
        keys.retain(|key| query.after.is_none_or(|after| Cursor::behind(key) > after));
        keys.sort_by_key(|key| Cursor::behind(key));
        keys.truncate(query.limit as usize);
        Ok(keys.into_iter().map(|key| rows.record(key)).collect())
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        Ok(self.0.lock().await.owners.get(id).cloned())
    }

    async fn insert_owner(&self, owner: Owner) -> Result<(), StoreError> {
        let mut rows = self.0.lock().await;
        if rows.owners.contains_key(owner.id()) {
            return Err(StoreError::duplicate());
        }
        rows.owners.insert(owner.id().clone(), owner);
        Ok(())
    }

    async fn update_owner(&self, id: &OwnerId, edit: OwnerEdit<'_>) -> Result<Owner, StoreError> {
        let mut rows = self.0.lock().await;
        let before = rows.owners.get(id).ok_or_else(StoreError::not_found)?;
        let after = edit(before).ok_or_else(StoreError::not_applied)?;
        if after.id() != id {
            return Err(StoreError::not_applied());
        }
        rows.owners.insert(id.clone(), after.clone());
        Ok(after)
    }
}

/// Keys that another system publishes, and that keeps no last use.
#[derive(Clone, Default)]
pub(super) struct Export(Arc<std::sync::Mutex<HashMap<String, Record>>>);

impl Export {
    pub(super) fn publish(&self, record: Record) {
        self.0.lock().unwrap().insert(record.key().digest().to_hex(), record);
    }
}

impl KeyStore for Export {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        DigestAlgorithm::Sha512
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        Ok(self.0.lock().unwrap().get(&digest.to_hex()).cloned())
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        let records = self.0.lock().unwrap();
        let asked: std::collections::BTreeSet<_> =
            digests.iter().map(TokenDigest::to_hex).collect();
        Ok(asked.iter().filter_map(|digest| records.get(digest).cloned()).collect())
    }

    async fn record_uses(&self, _: &[KeyUse]) -> Result<u64, StoreError> {
        Err(StoreError::unsupported("an export is not written"))
    }
}
