//! The contract with boxed futures, so that one type can hold any store.

use std::pin::Pin;

use super::{
    contract::{
        Capabilities, KeyEdit, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit, OwnerJudge,
    },
    error::StoreError,
    feed::{Heard, RevocationFeed},
};
use crate::value::{
    digest::{DigestAlgorithm, TokenDigest},
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// [`KeyStore`], as a trait object can be.
pub(crate) trait DynStore: Send + Sync + 'static {
    fn digest_algorithm(&self) -> DigestAlgorithm;
    fn find(&self, digest: TokenDigest) -> Boxed<'_, Option<Record>>;
    fn find_many<'a>(&'a self, digests: &'a [TokenDigest]) -> Boxed<'a, Vec<Record>>;
    fn record_uses<'a>(&'a self, uses: &'a [KeyUse]) -> Boxed<'a, u64>;
}

impl<T: KeyStore> DynStore for T {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        KeyStore::digest_algorithm(self)
    }

    fn find(&self, digest: TokenDigest) -> Boxed<'_, Option<Record>> {
        Box::pin(KeyStore::find(self, digest))
    }

    fn find_many<'a>(&'a self, digests: &'a [TokenDigest]) -> Boxed<'a, Vec<Record>> {
        Box::pin(KeyStore::find_many(self, digests))
    }

    fn record_uses<'a>(&'a self, uses: &'a [KeyUse]) -> Boxed<'a, u64> {
        Box::pin(KeyStore::record_uses(self, uses))
    }
}

/// [`KeyRepository`], as a trait object can be.
pub(crate) trait DynRepository: DynStore {
    fn capabilities(&self) -> Capabilities;
    fn insert<'a>(&'a self, key: ApiKey, owner: Owner, judge: OwnerJudge<'a>) -> Boxed<'a, Record>;
    fn get(&self, id: KeyId) -> Boxed<'_, Option<Record>>;
    fn update<'a>(&'a self, id: KeyId, edit: KeyEdit<'a>) -> Boxed<'a, Record>;
    fn delete(&self, id: KeyId) -> Boxed<'_, Record>;
    fn list(&self, query: KeyQuery) -> Boxed<'_, Vec<Record>>;
    fn owner<'a>(&'a self, id: &'a OwnerId) -> Boxed<'a, Option<Owner>>;
    fn insert_owner(&self, owner: Owner) -> Boxed<'_, ()>;
    fn update_owner<'a>(&'a self, id: &'a OwnerId, edit: OwnerEdit<'a>) -> Boxed<'a, Owner>;
}

impl<T: KeyRepository> DynRepository for T {
    fn capabilities(&self) -> Capabilities {
        KeyRepository::capabilities(self)
    }

    fn insert<'a>(&'a self, key: ApiKey, owner: Owner, judge: OwnerJudge<'a>) -> Boxed<'a, Record> {
        Box::pin(KeyRepository::insert(self, key, owner, judge))
    }

    fn get(&self, id: KeyId) -> Boxed<'_, Option<Record>> {
        Box::pin(KeyRepository::get(self, id))
    }

    fn update<'a>(&'a self, id: KeyId, edit: KeyEdit<'a>) -> Boxed<'a, Record> {
        Box::pin(KeyRepository::update(self, id, edit))
    }

    fn delete(&self, id: KeyId) -> Boxed<'_, Record> {
        Box::pin(KeyRepository::delete(self, id))
    }

    fn list(&self, query: KeyQuery) -> Boxed<'_, Vec<Record>> {
        Box::pin(KeyRepository::list(self, query))
    }

    fn owner<'a>(&'a self, id: &'a OwnerId) -> Boxed<'a, Option<Owner>> {
        Box::pin(KeyRepository::owner(self, id))
    }

    fn insert_owner(&self, owner: Owner) -> Boxed<'_, ()> {
        Box::pin(KeyRepository::insert_owner(self, owner))
    }

    fn update_owner<'a>(&'a self, id: &'a OwnerId, edit: OwnerEdit<'a>) -> Boxed<'a, Owner> {
        Box::pin(KeyRepository::update_owner(self, id, edit))
    }
}

/// [`RevocationFeed`], as a trait object can be.
pub(crate) trait DynFeed: Send + 'static {
    fn listen(&mut self) -> Boxed<'_, ()>;
    fn probe(&mut self, nonce: u64) -> Boxed<'_, ()>;
    fn next(&mut self) -> Boxed<'_, Heard>;
}

impl<T: RevocationFeed> DynFeed for T {
    fn listen(&mut self) -> Boxed<'_, ()> {
        Box::pin(RevocationFeed::listen(self))
    }

    fn probe(&mut self, nonce: u64) -> Boxed<'_, ()> {
        Box::pin(RevocationFeed::probe(self, nonce))
    }

    fn next(&mut self) -> Boxed<'_, Heard> {
        Box::pin(RevocationFeed::next(self))
    }
}
