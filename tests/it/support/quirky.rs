//! A store in memory with the quirks that the contract allows: a schema with no place for some things,
//! transactions that are run again, an index that notices what a look did not.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use futures_util::future::BoxFuture;
use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, MemoryStore, Owner, OwnerId, Record, TokenDigest,
    store::{
        Capabilities, Family, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore, KeyUse,
        KeyWrite, OwnerEdit, StoreError,
    },
};

/// The rows of a [`MemoryStore`], without a quirk until one is asked for.
#[derive(Clone)]
pub(crate) struct Quirky {
    rows: MemoryStore,
    can: Capabilities,
    is_blind: bool,
    is_retrying: bool,
    is_losing: Arc<AtomicBool>,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

/// What another process does between two tries of one transaction.
type Meanwhile = Box<dyn FnOnce(MemoryStore) -> BoxFuture<'static, ()> + Send>;

impl Quirky {
    pub(crate) fn over(rows: MemoryStore) -> Self {
        Self {
            rows,
            can: Capabilities::all(),
            is_blind: false,
            is_retrying: false,
            is_losing: Arc::default(),
            meanwhile: Arc::default(),
        }
    }

    /// Drops what this schema can't keep.
    pub(crate) fn able_to(self, can: Capabilities) -> Self {
        Self { can, ..self }
    }

    /// Sees no successors until it writes one.
    pub(crate) fn blind(self) -> Self {
        Self { is_blind: true, ..self }
    }

    /// Runs every transaction twice, as one that lost a race for a lock does.
    pub(crate) fn retrying(self) -> Self {
        Self { is_retrying: true, ..self }
    }

    /// The rows themselves, past every quirk.
    pub(crate) fn rows(&self) -> MemoryStore {
        self.rows.clone()
    }

    /// Lets `other` happen between the two tries of the next transaction.
    pub(crate) fn between_tries<F: Future<Output = ()> + Send + 'static>(
        &self,
        other: impl FnOnce(MemoryStore) -> F + Send + 'static,
    ) {
        let other: Meanwhile = Box::new(|rows| Box::pin(other(rows)));
        *self.meanwhile.lock().unwrap() = Some(other);
    }

    async fn between(&self) {
        let other = self.meanwhile.lock().unwrap().take();
        if let Some(other) = other {
            other(self.rows.clone()).await;
        }
    }

    /// Rolls the next change back, and answers with an error that does not say so.
    pub(crate) fn lose_next(&self) {
        self.is_losing.store(true, Ordering::SeqCst);
    }

    /// The columns that this schema has.
    fn kept(&self, key: ApiKey) -> ApiKey {
        let can = self.can;
        let key = if can.activation { key } else { key.with_active(true) };
        let key = if can.last_use { key } else { key.with_last_used_at(None) };
        let predecessor = key.predecessor().filter(|_| can.lineage);
        if can.metadata {
            return key.with_predecessor(predecessor);
        }
        ApiKey::new(key.id(), *key.digest(), key.owner_id().clone(), key.created_at())
            .with_expires_at(key.expires_at())
            .with_active(key.is_active())
            .with_last_used_at(key.last_used_at())
            .with_predecessor(predecessor)
    }
}

impl KeyStore for Quirky {
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
        if !self.can.last_use {
            return Err(StoreError::unsupported("no last use is kept"));
        }
        self.rows.record_uses(uses).await
    }
}

impl KeyRepository for Quirky {
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
        if self.is_retrying {
            let mut rolled_back = |owner: &Owner, caller: Option<&Owner>| {
                judge(owner, caller);
                false
            };
            let first = (self.kept(key.clone()), owner.clone());
            let _ = self.rows.insert(first.0, first.1, caller, &mut rolled_back).await;
            self.between().await;
        }
        self.rows.insert(self.kept(key), owner, caller, judge).await
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
        let is_blind = self.is_blind;
        let mut plan = |family: &Family| {
            if is_blind { plan(&family.clone().with_successor(None)) } else { plan(family) }
        };
        let is_lost = self.is_losing.swap(false, Ordering::SeqCst);
        if self.is_retrying || is_lost {
            let mut rolled_back = |family: &Family| {
                plan(family);
                (Some(family.key.id()) != ids.last().copied()).then(Vec::new)
            };
            let _ = self.rows.change(ids, caller, &mut rolled_back).await;
            self.between().await;
        }
        if is_lost {
            return Err(StoreError::other("a test said so"));
        }
        let mut kept = |family: &Family| {
            let fit = |write| match write {
                KeyWrite::Insert(key) => KeyWrite::Insert(self.kept(key)),
                KeyWrite::Update(key) => KeyWrite::Update(self.kept(key)),
                other => other,
            };
            Some(plan(family)?.into_iter().map(fit).collect())
        };
        self.rows.change(ids, caller, &mut kept).await
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
        if !self.can.owners {
            return Err(StoreError::unsupported("owners are kept elsewhere"));
        }
        if self.is_retrying {
            let mut rolled_back = |stored: Option<&Owner>, caller: Option<&Owner>| {
                edit(stored, caller);
                None
            };
            let _ = self.rows.change_owner(id, caller, &mut rolled_back).await;
            self.between().await;
        }
        self.rows.change_owner(id, caller, edit).await
    }
}
