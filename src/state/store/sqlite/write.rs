//! What management asks: each change one immediate transaction.
//!
//! `BEGIN IMMEDIATE` takes the write lock before the first row is read: what a closure judges
//! stands until the commit. A transaction that is dropped, by an error or with its future, is
//! rolled back before its connection is used again.

use sqlx::{Connection as _, Sqlite, SqliteConnection, Transaction, pool::PoolConnection};

use super::{
    super::{
        contract::{
            Capabilities, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore as _, OwnerEdit,
        },
        error::StoreError,
        sql::list,
    },
    SqliteStore, failure, row,
    statements::RECORD,
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
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        if key.digest().algorithm() != self.digest_algorithm() {
            return Err(StoreError::not_applied_because("the digest is of another algorithm"));
        }
        if key.owner_id() != owner.id() {
            return Err(StoreError::not_applied_because("the key names another owner"));
        }
        let mut writer = self.writer().await.map_err(definite)?;
        let mut change = begin(&mut writer).await?;
        let inserted = self.insert_in(&mut change, &key, &owner, caller, judge).await;
        end(change, inserted).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        let mut reader = self.reader()?.acquire().await.map_err(failure::of)?;
        self.key_in(&mut reader, id).await
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        let mut writer = self.writer().await.map_err(definite)?;
        let mut change = begin(&mut writer).await?;
        let written = self.change_in(&mut change, ids, caller, plan).await;
        end(change, written).await
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        let mut select = list::select::<Sqlite>(RECORD, &self.prefix, query);
        let rows = select.build().fetch_all(&self.reader()?).await.map_err(failure::of)?;
        row::records(&rows, self.digest_algorithm())
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        let mut reader = self.reader()?.acquire().await.map_err(failure::of)?;
        self.owner_in(&mut reader, id).await
    }

    async fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        let mut writer = self.writer().await.map_err(definite)?;
        let mut change = begin(&mut writer).await?;
        let changed = self.change_owner_in(&mut change, id, caller, edit).await;
        end(change, changed).await
    }
}

impl SqliteStore {
    async fn insert_in(
        &self,
        change: &mut SqliteConnection,
        key: &ApiKey,
        owner: &Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        // Asked for, not read off a failed INSERT: a user's own unique index is no duplicate id.
        if self.is_taken(change, key).await? {
            return Err(StoreError::duplicate());
        }
        // Before the owner is made: a caller who is not stored does not come into being by it.
        let caller = self.caller_in(change, caller).await?;
        self.add_owner(change, owner).await?;
        let stored = self.owner_in(change, owner.id()).await?;
        if !judge(&stored.ok_or_else(failure::vanished)?, caller.as_ref()) {
            return Err(StoreError::not_applied());
        }
        self.add_key(change, key).await?;
        self.key_in(change, key.id()).await?.ok_or_else(failure::vanished)
    }

    async fn change_in(
        &self,
        change: &mut SqliteConnection,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        let caller = self.caller_in(change, caller).await?;
        let (mut found, mut written) = (false, Vec::new());
        for id in ids {
            let Some(family) = self.family_in(change, *id, caller.as_ref()).await? else {
                continue;
            };
            found = true;
            for write in plan(&family).ok_or_else(StoreError::not_applied)? {
                written.push(self.write_in(change, &write).await?);
            }
        }
        found.then_some(written).ok_or_else(StoreError::not_found)
    }

    async fn change_owner_in(
        &self,
        change: &mut SqliteConnection,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        let caller = self.caller_in(change, caller).await?;
        let before = self.owner_in(change, id).await?;
        let after = edit(before.as_ref(), caller.as_ref()).ok_or_else(StoreError::not_applied)?;
        if after.id() != id {
            return Err(StoreError::not_applied_because("an owner keeps its id"));
        }
        if before.is_none() {
            self.add_owner(change, &after).await?;
        } else {
            self.set_owner(change, &after).await?;
        }
        Ok(after)
    }
}

async fn begin(writer: &mut PoolConnection<Sqlite>) -> Result<Transaction<'_, Sqlite>, StoreError> {
    let begun = writer.begin_with("BEGIN IMMEDIATE").await;
    begun.map_err(|error| definite(failure::of(error)))
}

/// Commits what was done, or rolls it back: an error before the commit was sent leaves nothing.
async fn end<T>(
    change: Transaction<'_, Sqlite>,
    done: Result<T, StoreError>,
) -> Result<T, StoreError> {
    let done = done.map_err(definite)?;
    change.commit().await.map_err(failure::of_commit)?;
    Ok(done)
}

/// An error of a change whose commit was never sent, so that it certainly was not made.
fn definite(error: StoreError) -> StoreError {
    if error.is_definite() { error } else { StoreError::not_applied_because(error) }
}
