//! A store that is chosen at run time.

use std::{fmt, sync::Arc};

use super::{
    contract::{
        Capabilities, KeyEdit, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit, OwnerJudge,
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
        judge: OwnerJudge<'_>,
    ) -> Result<Record, StoreError> {
        self.0.insert(key, owner, judge).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        self.0.get(id).await
    }

    async fn update(&self, id: KeyId, edit: KeyEdit<'_>) -> Result<Record, StoreError> {
        self.0.update(id, edit).await
    }

    async fn delete(&self, id: KeyId) -> Result<Record, StoreError> {
        self.0.delete(id).await
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        self.0.list(query).await
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        self.0.owner(id).await
    }

    async fn insert_owner(&self, owner: Owner) -> Result<(), StoreError> {
        self.0.insert_owner(owner).await
    }

    async fn update_owner(&self, id: &OwnerId, edit: OwnerEdit<'_>) -> Result<Owner, StoreError> {
        self.0.update_owner(id, edit).await
    }
}
