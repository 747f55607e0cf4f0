//! A key with its relatives, and one write, inside a transaction.

use sqlx::SqliteConnection;

use super::{
    super::{
        contract::{Family, KeyStore as _, KeyWrite},
        error::StoreError,
    },
    SqliteStore, failure, row,
};
use crate::value::{
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

impl SqliteStore {
    pub(super) async fn family_in(
        &self,
        change: &mut SqliteConnection,
        id: KeyId,
        caller: Option<&Owner>,
    ) -> Result<Option<Family>, StoreError> {
        let Some(key) = self.key_in(change, id).await? else { return Ok(None) };
        let predecessor = match key.key().predecessor() {
            Some(id) => self.key_in(change, id).await?.map(|record| record.key().clone()),
            None => None,
        };
        let successor = self.successor_in(change, id).await?;
        let family = Family::of(key).with_predecessor(predecessor).with_successor(successor);
        Ok(Some(family.with_caller(caller.cloned())))
    }

    /// Looked up once for a whole change, in its transaction.
    pub(super) async fn caller_in(
        &self,
        change: &mut SqliteConnection,
        caller: Option<&OwnerId>,
    ) -> Result<Option<Owner>, StoreError> {
        match caller {
            Some(caller) => self.owner_in(change, caller).await,
            None => Ok(None),
        }
    }

    async fn successor_in(
        &self,
        change: &mut SqliteConnection,
        id: KeyId,
    ) -> Result<Option<ApiKey>, StoreError> {
        let query = sqlx::query(self.statements.successor.clone()).bind(id.to_string());
        let found = query.fetch_optional(change).await.map_err(failure::of)?;
        let record = found.map(|found| row::record(&found, self.digest_algorithm()));
        Ok(record.transpose()?.map(|record| record.key().clone()))
    }

    /// Makes one write; answers with the row as it is to be told.
    pub(super) async fn write_in(
        &self,
        change: &mut SqliteConnection,
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
                let query = sqlx::query(self.statements.delete_key.clone()).bind(id.to_string());
                query.execute(change).await.map_err(failure::of)?;
                Ok(key)
            }
        }
    }
}
