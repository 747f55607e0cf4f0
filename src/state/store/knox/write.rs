//! What management asks: each change one transaction, on rows that it holds.
//!
//! A transaction whose client is gone ends at the server when its connection does, and until then
//! keeps its rows: so a change that comes behind a lost one finds it over, one way or the other, or
//! fails as not applied when it has waited for too long.

use super::{
    super::{
        contract::{
            Capabilities, Family, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore as _,
            OwnerEdit,
        },
        error::StoreError,
    },
    KnoxStore,
    failure::{self, definite},
    ids::Ids,
    range,
    row::{self, NoDate},
    schema::From,
    session::{Session, Statement},
};
use crate::value::{
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

/// How often a change is begun at most, when each one before it made way for another transaction.
const MAX_TRIES: usize = 5;

impl KeyRepository for KnoxStore {
    fn capabilities(&self) -> Capabilities {
        let is_smarter = self.is_smarter();
        Capabilities {
            activation: is_smarter,
            metadata: is_smarter,
            last_use: is_smarter,
            derived_ids: !is_smarter,
            any_owner: !is_smarter,
            ..Capabilities::minimal()
        }
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
            let mut session = self.begin().await?;
            let inserted = self.insert_in(&mut session, &key, &owner, caller, judge).await;
            if let Some(outcome) = end(session, inserted, &mut tries).await {
                return outcome;
            }
        }
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        let Some(statement) = self.by_id(id) else { return Ok(None) };
        let rows = self.pool.rows(statement).await?;
        Ok(row::records(rows, &self.schema, NoDate::HasExpired)?.pop())
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        let mut tries = 0;
        loop {
            let mut session = self.begin().await?;
            let written = self.change_in(&mut session, ids, caller, plan).await;
            if let Some(outcome) = end(session, written, &mut tries).await {
                return outcome;
            }
        }
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        let Some(statement) = self.listing(query) else { return Ok(Vec::new()) };
        let rows = self.pool.rows(statement).await?;
        row::records(rows, &self.schema, NoDate::HasExpired)
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        let Some(statement) = self.owner_by_id(id) else { return Ok(None) };
        let mut rows = self.pool.rows(statement).await?;
        rows.pop().map(|found| row::owner(found, &self.schema)).transpose()
    }

    async fn change_owner(
        &self,
        _: &OwnerId,
        _: Option<&OwnerId>,
        _: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        Err(StoreError::unsupported("users and accounts are Django's: change them there"))
    }
}

impl KnoxStore {
    async fn begin(&self) -> Result<Session, StoreError> {
        let begun = async {
            let mut session = self.pool.session().await?;
            session.send(self.schema.dialect.begin()).await?;
            Ok(session)
        };
        begun.await.map_err(|error| definite(failure::of(error)))
    }

    async fn change_in(
        &self,
        session: &mut Session,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        self.hold(session, ids, caller).await?;
        let caller = self.caller_in(session, caller).await?;
        let (mut found, mut written) = (false, Vec::new());
        // Keys that became active by it, and that became inactive.
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(key) = self.key_in(session, *id).await? else { continue };
            found = true;
            let family = Family::of(key).with_caller(caller.clone());
            for write in plan(&family).ok_or_else(StoreError::not_applied)? {
                let record = self.write_in(session, &family.key, &write).await?;
                match (family.key.key().is_active(), record.key().is_active()) {
                    (false, true) if record.id() == *id => begun.push(record.key().clone()),
                    (true, false) if record.id() == *id => ended.push(record.key().clone()),
                    _ => {}
                }
                written.push(record);
            }
        }
        // Nothing else does both at once but to undo a rotation: whoever named the new key names the old
        // one again.
        if let ([old], [new]) = (&begun[..], &ended[..]) {
            self.point_links(session, new, old).await?;
        }
        found.then_some(written).ok_or_else(StoreError::not_found)
    }

    pub(super) async fn key_in(
        &self,
        session: &mut Session,
        id: KeyId,
    ) -> Result<Option<Record>, StoreError> {
        let Some(statement) = self.by_id(id) else { return Ok(None) };
        let rows = session.rows(statement).await.map_err(failure::of)?;
        Ok(row::records(rows, &self.schema, NoDate::HasExpired)?.pop())
    }

    pub(super) async fn owner_in(
        &self,
        session: &mut Session,
        id: &OwnerId,
    ) -> Result<Option<Owner>, StoreError> {
        let Some(statement) = self.owner_by_id(id) else { return Ok(None) };
        let mut rows = session.rows(statement).await.map_err(failure::of)?;
        rows.pop().map(|found| row::owner(found, &self.schema)).transpose()
    }

    /// Looked up once for a whole change, in its transaction. In Smarter's database, one without a
    /// profile sees nothing, superuser or not, and so counts as nobody.
    pub(super) async fn caller_in(
        &self,
        session: &mut Session,
        caller: Option<&OwnerId>,
    ) -> Result<Option<Owner>, StoreError> {
        let Some(caller) = caller else { return Ok(None) };
        let row = self.owner_in(session, caller).await?;
        Ok(row.filter(|row| !self.is_smarter() || !row.accounts().is_empty()))
    }

    /// `None` if no row can have that id.
    pub(super) fn by_id(&self, id: KeyId) -> Option<Statement> {
        let (text, values) = if self.is_smarter() {
            let record = self.schema.record(From::Anywhere);
            let value = Ids::Uuids.value(self.schema.dialect);
            let id = Ids::uuid(*id.as_uuid(), self.schema.dialect);
            (format!("{record} WHERE c.key_id = {value}"), vec![Some(id)])
        } else {
            let (first, last) = range::digests(id)?;
            let record = self.schema.record(From::Digest);
            (format!("{record} WHERE k.digest BETWEEN ? AND ?"), vec![Some(first), Some(last)])
        };
        Some(Statement { sql: self.schema.compile(&text), values })
    }

    /// `None` if no row can have that id.
    fn owner_by_id(&self, id: &OwnerId) -> Option<Statement> {
        let values = vec![Some(self.bound_owner(id)?)];
        Some(Statement { sql: self.schema.compile(&self.schema.owner()), values })
    }
}

/// Commits what was done, or rolls it back: an error before the commit was sent leaves nothing. `None`
/// if it made way for another transaction, and is to be begun anew.
async fn end<T>(
    session: Session,
    done: Result<T, StoreError>,
    tries: &mut usize,
) -> Option<Result<T, StoreError>> {
    let (outcome, is_undone) = match done {
        Ok(done) => (session.commit().await.map(|()| done), false),
        Err(error) => {
            session.rollback().await;
            (Err(error), true)
        }
    };
    *tries += 1;
    match outcome {
        Err(error) if (is_undone || error.is_definite()) && failure::is_conflict(&error) => {
            (*tries >= MAX_TRIES).then(|| Err(definite(error)))
        }
        Err(error) if is_undone => Some(Err(definite(error))),
        outcome => Some(outcome),
    }
}
