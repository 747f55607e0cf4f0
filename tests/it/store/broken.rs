//! A store with one fault at a time, around one that has none.

use std::sync::Mutex;

use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, MemoryStore, Owner, OwnerId, Record, TokenDigest,
    store::{
        Capabilities, KeyEdit, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit, OwnerJudge,
        StoreError,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Overwrites,
    UsesGoBackward,
    IgnoresCase,
    RepeatsFound,
    LosesExpiry,
    JudgesThePassedOwner,
    KeepsRefused,
    EditsBehindItsBack,
    RenamesKeys,
    SkipsOnPages,
    StaleOwners,
    NothingIsMissing,
}

pub(super) struct Broken {
    inner: MemoryStore,
    fault: Fault,
    /// Every digest that was inserted, for those faults that look elsewhere than asked.
    seen: Mutex<Vec<TokenDigest>>,
    owners: Mutex<Vec<Owner>>,
}

impl Broken {
    pub(super) fn with(fault: Fault) -> Self {
        let inner = MemoryStore::new();
        Self { inner, fault, seen: Mutex::default(), owners: Mutex::default() }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// The owner as it was first seen, if this store is to answer that.
    fn aged(&self, record: Record) -> Record {
        let owners = self.owners.lock().unwrap();
        match owners.iter().find(|owner| owner.id() == record.owner().id()) {
            Some(owner) if self.is(Fault::StaleOwners) => {
                Record::new(record.key().clone(), owner.clone())
            }
            _ => record,
        }
    }
}

fn folded(digest: &TokenDigest) -> Vec<u8> {
    digest.as_bytes().to_ascii_lowercase()
}

impl KeyStore for Broken {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.inner.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        let mut asked = digest;
        if self.is(Fault::IgnoresCase) {
            let seen = self.seen.lock().unwrap();
            let alike = seen.iter().find(|seen| folded(seen) == folded(&digest));
            asked = alike.copied().unwrap_or(digest);
        }
        Ok(self.inner.find(asked).await?.map(|record| self.aged(record)))
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        let mut found = Vec::new();
        if self.is(Fault::RepeatsFound) {
            for digest in digests {
                found.extend(self.inner.find(*digest).await?);
            }
        } else {
            found = self.inner.find_many(digests).await?;
        }
        Ok(found)
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        let mut uses = uses.to_vec();
        if self.is(Fault::UsesGoBackward) {
            let end = chrono::DateTime::<chrono::Utc>::MAX_UTC;
            uses.iter_mut().for_each(|key_use| key_use.if_before = end);
        }
        self.inner.record_uses(&uses).await
    }
}

impl KeyRepository for Broken {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn insert(
        &self,
        mut key: ApiKey,
        owner: Owner,
        judge: OwnerJudge<'_>,
    ) -> Result<Record, StoreError> {
        self.seen.lock().unwrap().push(*key.digest());
        self.owners.lock().unwrap().push(owner.clone());
        if self.is(Fault::LosesExpiry) {
            key = key.with_expires_at(None);
        }
        if self.is(Fault::Overwrites)
            && let Some(taken) = self.inner.find(*key.digest()).await?
        {
            self.inner.delete(taken.key().id()).await?;
        }
        if self.is(Fault::JudgesThePassedOwner) {
            return self.inner.insert(key, owner.clone(), &mut |_| judge(&owner)).await;
        }
        if self.is(Fault::KeepsRefused) {
            let mut allowed = true;
            let ask = &mut |owner: &Owner| {
                allowed = judge(owner);
                true
            };
            let record = self.inner.insert(key, owner, ask).await?;
            return if allowed { Ok(record) } else { Err(StoreError::not_applied()) };
        }
        self.inner.insert(key, owner, judge).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        self.inner.get(id).await
    }

    async fn update(&self, id: KeyId, edit: KeyEdit<'_>) -> Result<Record, StoreError> {
        if self.is(Fault::EditsBehindItsBack) {
            let before = self.inner.get(id).await?.ok_or_else(StoreError::not_found)?;
            let after = edit(&before).ok_or_else(StoreError::not_applied)?;
            tokio::task::yield_now().await;
            return self.inner.update(id, &mut |_| Some(after.clone())).await;
        }
        if self.is(Fault::RenamesKeys) {
            let before = self.inner.get(id).await?.ok_or_else(StoreError::not_found)?;
            let after = edit(&before).ok_or_else(StoreError::not_applied)?;
            self.inner.delete(id).await?;
            return self.inner.insert(after, before.owner().clone(), &mut |_| true).await;
        }
        self.inner.update(id, edit).await
    }

    async fn delete(&self, id: KeyId) -> Result<Record, StoreError> {
        let gone = self.inner.delete(id).await;
        match gone {
            Err(_) if self.is(Fault::NothingIsMissing) => Err(StoreError::unavailable("gone")),
            gone => gone,
        }
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        let mut page = self.inner.list(query.clone()).await?;
        if self.is(Fault::SkipsOnPages) && query.after.is_some() && page.len() > 1 {
            page.remove(0);
        }
        Ok(page)
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        self.inner.owner(id).await
    }

    async fn insert_owner(&self, owner: Owner) -> Result<(), StoreError> {
        self.inner.insert_owner(owner).await
    }

    async fn update_owner(&self, id: &OwnerId, edit: OwnerEdit<'_>) -> Result<Owner, StoreError> {
        self.inner.update_owner(id, edit).await
    }
}
