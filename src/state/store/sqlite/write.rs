//! What management asks: each change one immediate transaction.
//!
//! `BEGIN IMMEDIATE` takes the write lock before the first row is read: what a closure judges
//! stands until the commit. A transaction that is dropped, by an error or with its future, is
//! rolled back before its connection is used again.

use sqlx::{Connection as _, Sqlite, Transaction, pool::PoolConnection};

use super::{
    super::{
        contract::{
            Capabilities, KeyEdit, KeyQuery, KeyRepository, KeyStore as _, OwnerEdit, OwnerJudge,
        },
        error::StoreError,
    },
    SqliteStore, failure, row,
};
use crate::value::{
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

impl KeyRepository for SqliteStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    async fn insert(
        &self,
        key: ApiKey,
        owner: Owner,
        judge: OwnerJudge<'_>,
    ) -> Result<Record, StoreError> {
        if key.digest().algorithm() != self.digest_algorithm() {
            return Err(StoreError::not_applied_because("the digest is of another algorithm"));
        }
        if key.owner_id() != owner.id() {
            return Err(StoreError::not_applied_because("the key names another owner"));
        }
        let mut writer = self.writer().await?;
        let mut change = begin(&mut writer).await?;
        // Asked for, not read off a failed INSERT: a user's own unique index is no duplicate id.
        if self.is_taken(&mut change, &key).await? {
            return Err(StoreError::duplicate());
        }
        self.add_owner(&mut change, &owner).await?;
        let stored = self.owner_in(&mut change, owner.id()).await?;
        if !judge(&stored.ok_or_else(vanished)?) {
            return Err(StoreError::not_applied());
        }
        self.add_key(&mut change, &key).await?;
        let record = self.key_in(&mut change, key.id()).await?.ok_or_else(vanished)?;
        commit(change).await?;
        Ok(record)
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        let mut reader = self.reader()?.acquire().await.map_err(failure::of)?;
        self.key_in(&mut reader, id).await
    }

    async fn update(&self, id: KeyId, edit: KeyEdit<'_>) -> Result<Record, StoreError> {
        let mut writer = self.writer().await?;
        let mut change = begin(&mut writer).await?;
        let before = self.key_in(&mut change, id).await?.ok_or_else(StoreError::not_found)?;
        let after = edit(&before).ok_or_else(StoreError::not_applied)?;
        self.change_key(&mut change, id, &after).await?;
        let record = self.key_in(&mut change, id).await?.ok_or_else(vanished)?;
        commit(change).await?;
        Ok(record)
    }

    async fn delete(&self, id: KeyId) -> Result<Record, StoreError> {
        let mut writer = self.writer().await?;
        let mut change = begin(&mut writer).await?;
        let record = self.key_in(&mut change, id).await?.ok_or_else(StoreError::not_found)?;
        let query = sqlx::query(self.statements.delete_key.clone()).bind(id.to_string());
        query.execute(&mut *change).await.map_err(failure::of)?;
        commit(change).await?;
        Ok(record)
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        let sql = match &query.after {
            None => self.statements.list_first.clone(),
            Some(_) => self.statements.list_after.clone(),
        };
        let mut select = sqlx::query(sql).bind(i64::from(query.limit.max(1)));
        if let Some(after) = query.after {
            select = select.bind(after.created_at.timestamp_micros()).bind(after.id.to_string());
        }
        let rows = select.fetch_all(&self.reader()?).await.map_err(failure::of)?;
        row::records(&rows, self.digest_algorithm())
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        let mut reader = self.reader()?.acquire().await.map_err(failure::of)?;
        self.owner_in(&mut reader, id).await
    }

    async fn insert_owner(&self, owner: Owner) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        let mut change = begin(&mut writer).await?;
        if !self.add_owner(&mut change, &owner).await? {
            return Err(StoreError::duplicate());
        }
        commit(change).await
    }

    async fn update_owner(&self, id: &OwnerId, edit: OwnerEdit<'_>) -> Result<Owner, StoreError> {
        let mut writer = self.writer().await?;
        let mut change = begin(&mut writer).await?;
        let before = self.owner_in(&mut change, id).await?.ok_or_else(StoreError::not_found)?;
        let after = edit(&before).ok_or_else(StoreError::not_applied)?;
        if after.id() != id {
            return Err(StoreError::not_applied_because("an owner keeps its id"));
        }
        let query = sqlx::query(self.statements.update_owner.clone())
            .bind(id.as_str())
            .bind(after.username())
            .bind(after.is_active())
            .bind(after.is_staff())
            .bind(after.is_superuser());
        query.execute(&mut *change).await.map_err(failure::of)?;
        let query = sqlx::query(self.statements.delete_memberships.clone()).bind(id.as_str());
        query.execute(&mut *change).await.map_err(failure::of)?;
        self.add_memberships(&mut change, &after).await?;
        commit(change).await?;
        Ok(after)
    }
}

async fn begin(writer: &mut PoolConnection<Sqlite>) -> Result<Transaction<'_, Sqlite>, StoreError> {
    writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| match failure::of(error) {
        unsupported if unsupported.is_unsupported() => unsupported,
        // What never began was certainly not made.
        other => StoreError::not_applied_because(other),
    })
}

async fn commit(change: Transaction<'_, Sqlite>) -> Result<(), StoreError> {
    change.commit().await.map_err(failure::of_commit)
}

/// A row that this transaction wrote is there, unless a trigger of the user's took it away.
fn vanished() -> StoreError {
    StoreError::other("a row that was just written is not there; does a trigger remove it?")
}
