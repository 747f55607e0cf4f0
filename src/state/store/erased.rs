//! The contract with boxed futures, so that one type can hold any store.

use std::{pin::Pin, time::Duration};

use super::{
    contract::{
        Capabilities, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit,
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
    fn insert<'a>(
        &'a self,
        key: ApiKey,
        owner: Owner,
        caller: Option<&'a OwnerId>,
        judge: InsertJudge<'a>,
    ) -> Boxed<'a, Record>;
    fn get(&self, id: KeyId) -> Boxed<'_, Option<Record>>;
    fn change<'a>(
        &'a self,
        ids: &'a [KeyId],
        caller: Option<&'a OwnerId>,
        plan: KeyPlan<'a>,
    ) -> Boxed<'a, Vec<Record>>;
    fn list(&self, query: KeyQuery) -> Boxed<'_, Vec<Record>>;
    fn owner<'a>(&'a self, id: &'a OwnerId) -> Boxed<'a, Option<Owner>>;
    fn change_owner<'a>(
        &'a self,
        id: &'a OwnerId,
        caller: Option<&'a OwnerId>,
        edit: OwnerEdit<'a>,
    ) -> Boxed<'a, Owner>;
}

impl<T: KeyRepository> DynRepository for T {
    fn capabilities(&self) -> Capabilities {
        KeyRepository::capabilities(self)
    }

    fn insert<'a>(
        &'a self,
        key: ApiKey,
        owner: Owner,
        caller: Option<&'a OwnerId>,
        judge: InsertJudge<'a>,
    ) -> Boxed<'a, Record> {
        Box::pin(KeyRepository::insert(self, key, owner, caller, judge))
    }

    fn get(&self, id: KeyId) -> Boxed<'_, Option<Record>> {
        Box::pin(KeyRepository::get(self, id))
    }

    fn change<'a>(
        &'a self,
        ids: &'a [KeyId],
        caller: Option<&'a OwnerId>,
        plan: KeyPlan<'a>,
    ) -> Boxed<'a, Vec<Record>> {
        Box::pin(KeyRepository::change(self, ids, caller, plan))
    }

    fn list(&self, query: KeyQuery) -> Boxed<'_, Vec<Record>> {
        Box::pin(KeyRepository::list(self, query))
    }

    fn owner<'a>(&'a self, id: &'a OwnerId) -> Boxed<'a, Option<Owner>> {
        Box::pin(KeyRepository::owner(self, id))
    }

    fn change_owner<'a>(
        &'a self,
        id: &'a OwnerId,
        caller: Option<&'a OwnerId>,
        edit: OwnerEdit<'a>,
    ) -> Boxed<'a, Owner> {
        Box::pin(KeyRepository::change_owner(self, id, caller, edit))
    }
}

/// [`RevocationFeed`], as a trait object can be.
pub(crate) trait DynFeed: Send + 'static {
    fn listen(&mut self) -> Boxed<'_, ()>;
    fn probe(&mut self, nonce: u64) -> Boxed<'_, ()>;
    fn next(&mut self) -> Boxed<'_, Heard>;
    fn rest(&mut self);
    fn longest_fresh_ttl(&self) -> Option<Duration>;
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

    fn rest(&mut self) {
        RevocationFeed::rest(self);
    }

    fn longest_fresh_ttl(&self) -> Option<Duration> {
        RevocationFeed::longest_fresh_ttl(self)
    }
}
