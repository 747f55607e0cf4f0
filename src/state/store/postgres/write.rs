//! What management asks: each change one transaction, on rows that it holds.
//!
//! A transaction locks the rows that its closures are to see before it reads them, and every other
//! change of ours does the same: the keys and their relatives in the order of their digests
//! (`FOR UPDATE`), then their owners and the caller in the order of their ids (`FOR SHARE`: many changes
//! may rely on one owner at once, but none may change it meanwhile). So what was judged stands until the
//! commit, whoever else writes, with psql as well as with this crate.
//!
//! `SERIALIZABLE` was not taken instead. It promises that the outcome is one that some order of the
//! transactions could have had, and that may be another order than they were made in: a lost change
//! could still commit behind the one that was to settle it, if that one only wrote the rows as they
//! stood. Behind a lock it can't: the settling change waits until the lost one is over on the server,
//! for as long as the lock timeout allows, and fails as not applied when that is not long enough. A key
//! that is only being added is waited for in the same way, by its unique indices.
//!
//! A transaction whose client is gone ends at the server by itself: a statement by the statement
//! timeout, one that waits for its client by `idle_in_transaction_session_timeout`. Until then reads
//! show what stood before it, and go on.

use super::{
    super::{
        contract::{
            Capabilities, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore as _, OwnerEdit,
        },
        error::StoreError,
        sql::list,
    },
    PostgresStore, dialect,
    ending::{Ended, end},
    failure::{self, definite},
    family::Held,
    row,
    session::Session,
    statements::RECORD,
};
use crate::value::{
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

impl KeyRepository for PostgresStore {
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
        let mut tries = 0;
        loop {
            let mut session = self.begin().await.map_err(definite)?;
            let inserted = self.insert_in(&mut session, &key, &owner, known(caller), judge).await;
            match end(session, inserted, &mut tries).await {
                Ended::Again => {}
                Ended::With(outcome) => return outcome,
            }
        }
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        let query = || self.query(&self.statements.get).bind(*id.as_uuid());
        let found = self.rows(query).await?;
        found.first().map(|found| row::record(found, self.digest_algorithm())).transpose()
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        let mut tries = 0;
        loop {
            let mut session = self.begin().await.map_err(definite)?;
            let written = self.change_in(&mut session, ids, known(caller), plan).await;
            match end(session, written, &mut tries).await {
                Ended::Again => {}
                Ended::With(outcome) => return outcome,
            }
        }
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        if !dialect::is_storable(&query) {
            return Ok(Vec::new());
        }
        // Not prepared for later: there are as many texts as there are filters.
        let mut select = list::select(RECORD, &self.prefix, query);
        let mut session = Session::of(&self.pool).await?;
        let rows = self.rows_on(&mut session, select.build().persistent(false)).await;
        session.release_after(&rows);
        let rows = rows?;
        row::records(&rows, self.digest_algorithm())
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        let Some(id) = known(Some(id)) else { return Ok(None) };
        let query = || self.query(&self.statements.owner).bind(id.as_str());
        let found = self.rows(query).await?;
        found.first().map(row::owner).transpose()
    }

    async fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        if known(Some(id)).is_none() {
            let is_to_be = edit(None, None).is_some();
            let why = "PostgreSQL keeps no id with a NUL";
            return Err(if is_to_be {
                StoreError::not_applied_because(why)
            } else {
                StoreError::not_applied()
            });
        }
        let mut tries = 0;
        loop {
            let mut session = self.begin().await.map_err(definite)?;
            let changed = self.change_owner_in(&mut session, id, known(caller), edit).await;
            match end(session, changed, &mut tries).await {
                Ended::Again => {}
                Ended::With(outcome) => return outcome,
            }
        }
    }
}

impl PostgresStore {
    async fn begin(&self) -> Result<Session, StoreError> {
        let mut session = Session::of(&self.pool).await?;
        session.begin(self.beginnings.change.clone()).await.map_err(failure::of)?;
        Ok(session)
    }

    async fn insert_in(
        &self,
        session: &mut Session,
        key: &ApiKey,
        owner: &Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        let change = session.connection();
        // Whoever sees a key without a successor holds it until the commit.
        if let Some(predecessor) = key.predecessor() {
            self.hold(change, &mut Held::default(), &[predecessor], None).await?;
        }
        self.hold_owners(change, [], caller.into_iter().chain([owner.id()])).await?;
        // Asked for first: a failed INSERT ends the transaction, and leaves a line in the server's log.
        if self.is_taken(change, key).await? {
            return Err(StoreError::duplicate());
        }
        // Before the owner is made: a caller who is not stored does not come into being by it.
        let caller = self.caller_in(change, caller).await?;
        let stored = match self.owner_in(change, owner.id()).await? {
            Some(stored) => stored,
            None if self.add_owner(change, owner).await? => {
                self.owner_in(change, owner.id()).await?.ok_or_else(failure::vanished)?
            }
            None => return Err(failure::overtaken()),
        };
        if !judge(&stored, caller.as_ref()) {
            return Err(StoreError::not_applied());
        }
        self.add_key(change, key).await?;
        self.key_in(change, key.id()).await?.ok_or_else(failure::vanished)
    }

    async fn change_in(
        &self,
        session: &mut Session,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        let change = session.connection();
        let mut held = Held::default();
        self.hold(change, &mut held, ids, caller).await?;
        let caller = self.caller_in(change, caller).await?;
        let (mut found, mut written) = (false, Vec::new());
        for id in ids {
            let family = self.family_in(change, &mut held, *id, caller.as_ref()).await?;
            let Some(family) = family else { continue };
            found = true;
            for write in plan(&family).ok_or_else(StoreError::not_applied)? {
                written.push(self.write_in(change, &write).await?);
            }
        }
        found.then_some(written).ok_or_else(StoreError::not_found)
    }

    async fn change_owner_in(
        &self,
        session: &mut Session,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        let change = session.connection();
        let ids: Vec<&str> = caller.into_iter().chain([id]).map(OwnerId::as_str).collect();
        let query = self.query(&self.statements.lock_owners).bind(ids);
        query.execute(&mut *change).await.map_err(failure::of)?;
        let caller = self.caller_in(change, caller).await?;
        let before = self.owner_in(change, id).await?;
        let after = edit(before.as_ref(), caller.as_ref()).ok_or_else(StoreError::not_applied)?;
        if after.id() != id {
            return Err(StoreError::not_applied_because("an owner keeps its id"));
        }
        if before.is_some() {
            self.set_owner(change, &after).await?;
        } else if !self.add_owner(change, &after).await? {
            return Err(failure::overtaken());
        }
        Ok(after)
    }
}

/// An id that can be stored: PostgreSQL's texts hold no NUL, so that nobody's id does.
fn known(id: Option<&OwnerId>) -> Option<&OwnerId> {
    id.filter(|id| !id.as_str().contains('\0'))
}
