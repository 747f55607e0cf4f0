//! The steps of a change, each one statement on a connection that is lent to it.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;

use super::{
    super::{contract::KeyStore as _, error::StoreError},
    SqliteStore, failure, row,
};
use crate::value::{
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

impl SqliteStore {
    pub(super) async fn key_in(
        &self,
        connection: &mut SqliteConnection,
        id: KeyId,
    ) -> Result<Option<Record>, StoreError> {
        let query = sqlx::query(self.statements.get.clone()).bind(id.to_string());
        let found = query.fetch_optional(connection).await.map_err(failure::of)?;
        found.map(|found| row::record(&found, self.digest_algorithm())).transpose()
    }

    pub(super) async fn owner_in(
        &self,
        connection: &mut SqliteConnection,
        id: &OwnerId,
    ) -> Result<Option<Owner>, StoreError> {
        let query = sqlx::query(self.statements.owner.clone()).bind(id.as_str());
        let found = query.fetch_optional(connection).await.map_err(failure::of)?;
        found.map(|found| row::owner(&found)).transpose()
    }

    pub(super) async fn is_taken(
        &self,
        change: &mut SqliteConnection,
        key: &ApiKey,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar(self.statements.is_taken.clone())
            .bind(key.digest().to_hex())
            .bind(key.id().to_string())
            .bind(key.predecessor().map(|id| id.to_string()));
        query.fetch_one(change).await.map_err(failure::of)
    }

    pub(super) async fn add_key(
        &self,
        change: &mut SqliteConnection,
        key: &ApiKey,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(self.statements.insert_key.clone())
            .bind(key.digest().to_hex())
            .bind(key.id().to_string())
            .bind(key.token_key().expose())
            .bind(key.owner_id().as_str())
            .bind(key.account().map(|account| account.as_str()))
            .bind(key.name())
            .bind(key.description())
            .bind(key.version())
            .bind(json_list(key.tags()))
            .bind(json_map(key))
            .bind(json_list(key.scopes()))
            .bind(key.created_at().timestamp_micros())
            .bind(key.updated_at().timestamp_micros())
            .bind(key.expires_at().map(|at| at.timestamp_micros()))
            .bind(key.last_used_at().map(|at| at.timestamp_micros()))
            .bind(key.is_active())
            .bind(key.predecessor().map(|id| id.to_string()));
        query.execute(change).await.map_err(failure::of)?;
        Ok(())
    }

    /// Writes the columns that an edit may change, and no other.
    pub(super) async fn change_key(
        &self,
        change: &mut SqliteConnection,
        id: KeyId,
        key: &ApiKey,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(self.statements.update_key.clone())
            .bind(id.to_string())
            .bind(key.account().map(|account| account.as_str()))
            .bind(key.name())
            .bind(key.description())
            .bind(key.version())
            .bind(json_list(key.tags()))
            .bind(json_map(key))
            .bind(json_list(key.scopes()))
            .bind(key.updated_at().timestamp_micros())
            .bind(key.expires_at().map(|at| at.timestamp_micros()))
            .bind(key.is_active())
            .bind(key.predecessor().map(|id| id.to_string()));
        query.execute(change).await.map_err(failure::of)?;
        Ok(())
    }

    /// Adds the owner if there is none of that id, and says whether it did.
    pub(super) async fn add_owner(
        &self,
        change: &mut SqliteConnection,
        owner: &Owner,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query(self.statements.insert_owner.clone())
            .bind(owner.id().as_str())
            .bind(owner.username())
            .bind(owner.is_active())
            .bind(owner.is_staff())
            .bind(owner.is_superuser());
        let done = query.execute(&mut *change).await.map_err(failure::of)?;
        let added = done.rows_affected() == 1;
        if added {
            self.add_memberships(change, owner).await?;
        }
        Ok(added)
    }

    /// Writes an owner that is there, memberships included.
    pub(super) async fn set_owner(
        &self,
        change: &mut SqliteConnection,
        owner: &Owner,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(self.statements.update_owner.clone())
            .bind(owner.id().as_str())
            .bind(owner.username())
            .bind(owner.is_active())
            .bind(owner.is_staff())
            .bind(owner.is_superuser());
        query.execute(&mut *change).await.map_err(failure::of)?;
        let query = sqlx::query(self.statements.delete_memberships.clone());
        let query = query.bind(owner.id().as_str());
        query.execute(&mut *change).await.map_err(failure::of)?;
        self.add_memberships(change, owner).await
    }

    async fn add_memberships(
        &self,
        change: &mut SqliteConnection,
        owner: &Owner,
    ) -> Result<(), StoreError> {
        if owner.accounts().is_empty() {
            return Ok(());
        }
        let query = sqlx::query(self.statements.insert_memberships.clone())
            .bind(owner.id().as_str())
            .bind(json_list(owner.accounts().iter().map(|account| account.as_str())));
        query.execute(change).await.map_err(failure::of)?;
        Ok(())
    }
}

fn json_list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.collect::<serde_json::Value>().to_string()
}

fn json_map(key: &ApiKey) -> String {
    let items: BTreeMap<&str, &str> = key.annotations().collect();
    serde_json::json!(items).to_string()
}
