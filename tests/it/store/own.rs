//! Stores as a user would write them: a table with a lock, and an export that can only be read.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::Mutex;
use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, Owner, OwnerId, Record, TokenDigest,
    store::{
        Capabilities, Family, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore, KeyUse,
        KeyWrite, OwnerEdit, StoreError,
    },
};

/// A plain table of keys and one of owners.
#[derive(Default)]
pub(super) struct Table(Mutex<Rows>);

#[derive(Clone, Default)]
struct Rows {
    keys: HashMap<KeyId, ApiKey>,
    owners: HashMap<OwnerId, Owner>,
}

impl Rows {
    fn record(&self, key: &ApiKey) -> Record {
        Record::new(key.clone(), self.owners[key.owner_id()].clone())
    }

    fn family(&self, id: KeyId, caller: Option<&OwnerId>) -> Option<Family> {
        let key = self.keys.get(&id)?;
        let older = key.predecessor().and_then(|id| self.keys.get(&id));
        let newer = self.keys.values().find(|other| other.predecessor() == Some(id));
        let caller = caller.and_then(|caller| self.owners.get(caller));
        Some(
            Family::of(self.record(key))
                .with_predecessor(older.cloned())
                .with_successor(newer.cloned())
                .with_caller(caller.cloned()),
        )
    }

    fn write(&mut self, write: KeyWrite) -> Result<Record, StoreError> {
        match write {
            KeyWrite::Insert(key) => {
                let is_taken = self.keys.values().any(|other| {
                    other.id() == key.id()
                        || other.digest() == key.digest()
                        || key.predecessor().is_some() && other.predecessor() == key.predecessor()
                });
                if is_taken {
                    return Err(StoreError::duplicate());
                }
                self.keys.insert(key.id(), key.clone());
                Ok(self.record(&key))
            }
            KeyWrite::Update(key) => {
                let stored = self.keys.get(&key.id()).ok_or_else(StoreError::not_found)?;
                let after = key.keeping_identity_of(stored);
                self.keys.insert(after.id(), after.clone());
                Ok(self.record(&after))
            }
            KeyWrite::Delete(id) => {
                let gone = self.keys.remove(&id).ok_or_else(StoreError::not_found)?;
                Ok(self.record(&gone))
            }
            _ => Err(StoreError::unsupported("a write of a later version")),
        }
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
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        let mut rows = self.0.lock().await;
        if rows.keys.contains_key(&key.id()) || rows.by_digest(key.digest()).is_some() {
            return Err(StoreError::duplicate());
        }
        let caller = caller.and_then(|caller| rows.owners.get(caller));
        if !judge(rows.owners.get(owner.id()).unwrap_or(&owner), caller) {
            return Err(StoreError::not_applied());
        }
        rows.owners.entry(owner.id().clone()).or_insert(owner);
        rows.write(KeyWrite::Insert(key))
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        let rows = self.0.lock().await;
        Ok(rows.keys.get(&id).map(|key| rows.record(key)))
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        let mut rows = self.0.lock().await;
        let mut draft = rows.clone();
        let (mut found, mut written) = (false, Vec::new());
        for id in ids {
            let Some(family) = draft.family(*id, caller) else { continue };
            found = true;
            for write in plan(&family).ok_or_else(StoreError::not_applied)? {
                written.push(draft.write(write)?);
            }
        }
        *rows = draft;
        if found { Ok(written) } else { Err(StoreError::not_found()) }
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        let rows = self.0.lock().await;
        let admitted = |key: &&ApiKey| query.admits(key, |id| rows.owners.get(id));
        let mut page: Vec<Record> =
            rows.keys.values().filter(admitted).map(|key| rows.record(key)).collect();
        page.sort_by(|one, other| query.compare(one, other));
        page.truncate(query.limit as usize);
        Ok(page)
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        Ok(self.0.lock().await.owners.get(id).cloned())
    }

    async fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        let mut rows = self.0.lock().await;
        let caller = caller.and_then(|caller| rows.owners.get(caller));
        let after = edit(rows.owners.get(id), caller).ok_or_else(StoreError::not_applied)?;
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
