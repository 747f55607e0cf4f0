//! The steps of a change, each one statement on a connection that is lent to it.

use std::collections::BTreeMap;

use sqlx::{PgConnection, types::Uuid};

use super::{
    super::{contract::KeyStore as _, error::StoreError},
    PostgresStore, failure,
    moment::Moment,
    row, schema,
};
use crate::value::{
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

impl PostgresStore {
    pub(super) async fn key_in(
        &self,
        connection: &mut PgConnection,
        id: KeyId,
    ) -> Result<Option<Record>, StoreError> {
        let query = self.query(&self.statements.get).bind(*id.as_uuid());
        let found = query.fetch_optional(connection).await.map_err(failure::of)?;
        found.map(|found| row::record(&found, self.digest_algorithm())).transpose()
    }

    pub(super) async fn owner_in(
        &self,
        connection: &mut PgConnection,
        id: &OwnerId,
    ) -> Result<Option<Owner>, StoreError> {
        let query = self.query(&self.statements.owner).bind(id.as_str());
        let found = query.fetch_optional(connection).await.map_err(failure::of)?;
        found.map(|found| row::owner(&found)).transpose()
    }

    pub(super) async fn is_taken(
        &self,
        change: &mut PgConnection,
        key: &ApiKey,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar(self.statements.is_taken.clone())
            .persistent(!self.is_pooled)
            .bind(key.digest().as_bytes())
            .bind(*key.id().as_uuid())
            .bind(key.predecessor().map(|id| *id.as_uuid()));
        query.fetch_one(change).await.map_err(failure::of)
    }

    /// Adds a key. One that another transaction is adding is waited for: if that one lands, this is a
    /// duplicate, and if it does not, it never will.
    pub(super) async fn add_key(
        &self,
        change: &mut PgConnection,
        key: &ApiKey,
    ) -> Result<(), StoreError> {
        let query = self
            .query(&self.statements.insert_key)
            .bind(key.digest().as_bytes())
            .bind(*key.id().as_uuid())
            .bind(key.token_key().expose())
            .bind(key.owner_id().as_str())
            .bind(key.account().map(|account| account.as_str()))
            .bind(key.name())
            .bind(key.description())
            .bind(key.version())
            .bind(key.tags().collect::<Vec<_>>())
            .bind(json_map(key))
            .bind(key.scopes().collect::<Vec<_>>())
            .bind(Moment(key.created_at()))
            .bind(Moment(key.updated_at()))
            .bind(key.expires_at().map(Moment))
            .bind(key.last_used_at().map(Moment))
            .bind(key.is_active())
            .bind(key.predecessor().map(|id| *id.as_uuid()));
        let done = query.execute(change).await.map_err(failure::of).map(drop);
        done.map_err(|error| self.or_duplicate(error))
    }

    /// Writes the columns that an edit may change, and no other.
    pub(super) async fn change_key(
        &self,
        change: &mut PgConnection,
        id: KeyId,
        key: &ApiKey,
    ) -> Result<(), StoreError> {
        let query = self
            .query(&self.statements.update_key)
            .bind(*id.as_uuid())
            .bind(key.account().map(|account| account.as_str()))
            .bind(key.name())
            .bind(key.description())
            .bind(key.version())
            .bind(key.tags().collect::<Vec<_>>())
            .bind(json_map(key))
            .bind(key.scopes().collect::<Vec<_>>())
            .bind(Moment(key.updated_at()))
            .bind(key.expires_at().map(Moment))
            .bind(key.is_active())
            .bind(key.predecessor().map(|id| *id.as_uuid()));
        let done = query.execute(change).await.map_err(failure::of).map(drop);
        done.map_err(|error| self.or_duplicate(error))
    }

    pub(super) async fn remove_key(
        &self,
        change: &mut PgConnection,
        id: KeyId,
    ) -> Result<(), StoreError> {
        let query = self.query(&self.statements.delete_key).bind(*id.as_uuid());
        query.execute(change).await.map_err(failure::of).map(drop)
    }

    /// Adds the owner if there is none of that id, and says whether it did.
    pub(super) async fn add_owner(
        &self,
        change: &mut PgConnection,
        owner: &Owner,
    ) -> Result<bool, StoreError> {
        let query = self.owner_query(&self.statements.insert_owner, owner);
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
        change: &mut PgConnection,
        owner: &Owner,
    ) -> Result<(), StoreError> {
        let query = self.owner_query(&self.statements.update_owner, owner);
        query.execute(&mut *change).await.map_err(failure::of)?;
        let query = self.query(&self.statements.delete_memberships).bind(owner.id().as_str());
        query.execute(&mut *change).await.map_err(failure::of)?;
        self.add_memberships(change, owner).await
    }

    async fn add_memberships(
        &self,
        change: &mut PgConnection,
        owner: &Owner,
    ) -> Result<(), StoreError> {
        if owner.accounts().is_empty() {
            return Ok(());
        }
        let accounts: Vec<&str> = owner.accounts().iter().map(|account| account.as_str()).collect();
        let query = self.query(&self.statements.insert_memberships);
        let query = query.bind(owner.id().as_str()).bind(accounts);
        query.execute(change).await.map_err(failure::of).map(drop)
    }

    fn owner_query<'q>(&self, sql: &sqlx::SqlStr, owner: &'q Owner) -> super::Statement<'q> {
        self.query(sql)
            .bind(owner.id().as_str())
            .bind(owner.username())
            .bind(owner.is_active())
            .bind(owner.is_staff())
            .bind(owner.is_superuser())
    }

    fn or_duplicate(&self, error: StoreError) -> StoreError {
        match failure::taken(&error) {
            Some(constraint) if schema::is_of_identity(&self.prefix, constraint) => {
                StoreError::duplicate()
            }
            _ => error,
        }
    }
}

pub(super) fn uuids<'a>(ids: impl IntoIterator<Item = &'a KeyId>) -> Vec<Uuid> {
    ids.into_iter().map(|id| *id.as_uuid()).collect()
}

fn json_map(key: &ApiKey) -> String {
    let items: BTreeMap<&str, &str> = key.annotations().collect();
    serde_json::json!(items).to_string()
}
