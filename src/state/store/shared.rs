//! A store that is chosen at run time.

use std::{fmt, sync::Arc};

use super::{
    contract::{
        Capabilities, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit,
    },
    erased::DynRepository,
    error::StoreError,
};
use crate::value::{
    digest::{DigestAlgorithm, TokenDigest},
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

/// Any store behind one type, for a service that chooses its store at run time. Clones share it.
#[derive(Clone)]
pub struct SharedStore(Arc<dyn DynRepository>);

impl SharedStore {
    /// Puts a store behind the common type.
    #[must_use]
    pub fn new(store: impl KeyRepository) -> Self {
        Self(Arc::new(store))
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore").finish_non_exhaustive()
    }
}

impl KeyStore for SharedStore {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.0.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        self.0.find(digest).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.0.find_many(digests).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        self.0.record_uses(uses).await
    }
}

impl KeyRepository for SharedStore {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn insert(
        &self,
        key: ApiKey,
        owner: Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        self.0.insert(key, owner, caller, judge).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        self.0.get(id).await
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        self.0.change(ids, caller, plan).await
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        self.0.list(query).await
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        self.0.owner(id).await
    }

    async fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        self.0.change_owner(id, caller, edit).await
    }
}
