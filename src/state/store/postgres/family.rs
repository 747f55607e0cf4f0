//! A key with its relatives, held until the transaction ends, and one write.

use std::collections::HashSet;

use sqlx::{PgConnection, Row as _, types::Uuid};

use super::{
    super::{
        contract::{Family, KeyStore as _, KeyWrite},
        error::StoreError,
    },
    PostgresStore, failure, row,
    steps::uuids,
};
use crate::value::{
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

/// How often a family is looked at again because it had grown by the time it was held.
const MAX_LOOKS: usize = 8;

/// The keys whose rows this transaction holds.
#[derive(Default)]
pub(super) struct Held(HashSet<KeyId>);

impl PostgresStore {
    /// Holds these keys with their relatives, their owners and the caller until the transaction ends.
    ///
    /// It only locks. What is read of these rows comes from a later statement: one that had to wait for
    /// a lock would show the row as it now is, and its neighbours as they were when it began.
    pub(super) async fn hold(
        &self,
        change: &mut PgConnection,
        held: &mut Held,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
    ) -> Result<(), StoreError> {
        let query = self.query(&self.statements.lock_keys).bind(uuids(ids));
        let rows = query.fetch_all(&mut *change).await.map_err(failure::of)?;
        for row in rows {
            held.0.insert(row.try_get::<Uuid, _>(0).map_err(StoreError::other)?.into());
        }
        self.hold_owners(change, &held.0, caller).await
    }

    /// Holds the owners of these keys, and others.
    pub(super) async fn hold_owners<'a>(
        &self,
        change: &mut PgConnection,
        of: impl IntoIterator<Item = &'a KeyId>,
        others: impl IntoIterator<Item = &'a OwnerId>,
    ) -> Result<(), StoreError> {
        let others: Vec<&str> = others.into_iter().map(OwnerId::as_str).collect();
        let query = self.query(&self.statements.lock_owners_of).bind(uuids(of)).bind(others);
        query.execute(change).await.map_err(failure::of).map(drop)
    }

    /// The family as it stands, all of it held.
    pub(super) async fn family_in(
        &self,
        change: &mut PgConnection,
        held: &mut Held,
        id: KeyId,
        caller: Option<&Owner>,
    ) -> Result<Option<Family>, StoreError> {
        for _ in 0..MAX_LOOKS {
            let query = self.query(&self.statements.family).bind(*id.as_uuid());
            let rows = query.fetch_all(&mut *change).await.map_err(failure::of)?;
            let records = row::records(&rows, self.digest_algorithm())?;
            // A relative may have come between the lock and the look.
            if records.iter().all(|record| held.0.contains(&record.id())) {
                return Ok(family_of(id, &records, caller));
            }
            self.hold(change, held, &[id], None).await?;
        }
        Err(StoreError::unavailable("the key's relatives change all the time"))
    }

    /// Looked up once for a whole change, in its transaction.
    pub(super) async fn caller_in(
        &self,
        change: &mut PgConnection,
        caller: Option<&OwnerId>,
    ) -> Result<Option<Owner>, StoreError> {
        match caller {
            Some(caller) => self.owner_in(change, caller).await,
            None => Ok(None),
        }
    }

    /// Makes one write; answers with the row as it is to be told.
    pub(super) async fn write_in(
        &self,
        change: &mut PgConnection,
        write: &KeyWrite,
    ) -> Result<Record, StoreError> {
        match write {
            KeyWrite::Insert(key) => {
                if self.is_taken(change, key).await? {
                    return Err(StoreError::duplicate());
                }
                self.add_key(change, key).await?;
                self.key_in(change, key.id()).await?.ok_or_else(failure::vanished)
            }
            KeyWrite::Update(key) => {
                self.change_key(change, key.id(), key).await?;
                self.key_in(change, key.id()).await?.ok_or_else(StoreError::not_found)
            }
            KeyWrite::Delete(id) => {
                let key = self.key_in(change, *id).await?.ok_or_else(StoreError::not_found)?;
                self.remove_key(change, *id).await?;
                Ok(key)
            }
        }
    }
}

fn family_of(id: KeyId, records: &[Record], caller: Option<&Owner>) -> Option<Family> {
    let key = records.iter().find(|record| record.id() == id)?.clone();
    let found =
        |is: &dyn Fn(&ApiKey) -> bool| records.iter().map(Record::key).find(|key| is(key)).cloned();
    let predecessor = key.key().predecessor();
    let predecessor = found(&|other| Some(other.id()) == predecessor);
    let successor = found(&|other| other.predecessor() == Some(id));
    let family = Family::of(key).with_predecessor(predecessor).with_successor(successor);
    Some(family.with_caller(caller.cloned()))
}
