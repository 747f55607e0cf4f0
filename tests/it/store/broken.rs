//! A store with one fault at a time, around one that has none.

use std::sync::Mutex;

use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, MemoryStore, Owner, OwnerId, Record, TokenDigest,
    store::{
        Capabilities, Family, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore, KeyUse,
        KeyWrite, OwnerEdit, StoreError,
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
    MovesKeys,
    HalfChanges,
    ForgetsPredecessors,
    TwoSuccessors,
    TrustsCallers,
    IgnoresPlatform,
    FoldsTags,
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
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        self.seen.lock().unwrap().push(*key.digest());
        self.owners.lock().unwrap().push(owner.clone());
        if self.is(Fault::LosesExpiry) {
            key = key.with_expires_at(None);
        }
        if self.is(Fault::Overwrites)
            && let Some(taken) = self.inner.find(*key.digest()).await?
        {
            super::super::support::remove(&self.inner, taken.key().id()).await?;
        }
        if self.is(Fault::JudgesThePassedOwner) {
            let judge = &mut |_: &Owner, caller: Option<&Owner>| judge(&owner, caller);
            return self.inner.insert(key, owner.clone(), caller, judge).await;
        }
        if self.is(Fault::KeepsRefused) {
            let mut allowed = true;
            let ask = &mut |owner: &Owner, caller: Option<&Owner>| {
                allowed = judge(owner, caller);
                true
            };
            let record = self.inner.insert(key, owner, caller, ask).await?;
            return if allowed { Ok(record) } else { Err(StoreError::not_applied()) };
        }
        self.inner.insert(key, owner, caller, judge).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        self.inner.get(id).await
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        if self.is(Fault::NothingIsMissing) {
            let answer = self.inner.change(ids, caller, plan).await;
            return match answer {
                Err(error) if error.is_not_found() => Err(StoreError::unavailable("gone")),
                answer => answer,
            };
        }
        if self.is(Fault::EditsBehindItsBack) {
            // What one transaction decided is written by another one.
            let mut decided = Vec::new();
            let mut look = |family: &Family| {
                decided.push((family.key.id(), plan(family)?));
                Some(Vec::new())
            };
            self.inner.change(ids, caller, &mut look).await?;
            tokio::task::yield_now().await;
            let mut write = |family: &Family| {
                let own = decided.iter().find(|(id, _)| *id == family.key.id());
                Some(own.map(|(_, writes)| writes.clone()).unwrap_or_default())
            };
            return self.inner.change(ids, caller, &mut write).await;
        }
        if self.is(Fault::HalfChanges) {
            let mut written = Vec::new();
            for id in ids {
                match self.inner.change(&[*id], caller, plan).await {
                    Err(error) if error.is_not_found() => {}
                    answer => written.extend(answer?),
                }
            }
            return if written.is_empty() {
                self.inner.change(ids, caller, plan).await
            } else {
                Ok(written)
            };
        }
        let stranger = Owner::new("a stranger");
        let mut plan = |family: &Family| {
            let mut family = family.clone();
            if self.is(Fault::TrustsCallers) && caller.is_some() && family.caller.is_none() {
                family = family.with_caller(Some(stranger.clone()));
            }
            if self.is(Fault::ForgetsPredecessors) {
                family = family.with_predecessor(None);
            }
            if self.is(Fault::TwoSuccessors) {
                family = family.with_successor(None);
            }
            let mut writes = plan(&family)?;
            for write in &mut writes {
                match write {
                    KeyWrite::Insert(key) if self.is(Fault::TwoSuccessors) => {
                        *write = KeyWrite::Insert(key.clone().with_predecessor(None));
                    }
                    KeyWrite::Update(key) if self.is(Fault::MovesKeys) => {
                        let name = format!("{} (edited)", key.name());
                        *write = KeyWrite::Update(key.clone().with_name(name));
                    }
                    _ => {}
                }
            }
            Some(writes)
        };
        self.inner.change(ids, caller, &mut plan).await
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        let mut asked = query.clone();
        if self.is(Fault::IgnoresPlatform) {
            asked.platform = None;
        }
        if self.is(Fault::FoldsTags) {
            asked.filter.tag = asked.filter.tag.map(|tag| tag.to_ascii_lowercase().into());
        }
        let mut page = self.inner.list(asked).await?;
        if self.is(Fault::SkipsOnPages) && query.after.is_some() && page.len() > 1 {
            page.remove(0);
        }
        Ok(page)
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        self.inner.owner(id).await
    }

    async fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        self.inner.change_owner(id, caller, edit).await
    }
}
