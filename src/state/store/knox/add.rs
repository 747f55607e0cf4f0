//! Adds a key: knox's row, then Smarter's beside it, with every column, as none has a default.

use super::{
    super::{contract::InsertJudge, error::StoreError},
    KnoxStore,
    belonging::Belonging,
    failure,
    ids::Ids,
    metadata,
    session::{Session, Statement},
};
use crate::value::{
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

impl KnoxStore {
    pub(super) async fn insert_in(
        &self,
        session: &mut Session,
        key: &ApiKey,
        owner: &Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        self.hold_owners(session, caller.into_iter().chain([owner.id()])).await?;
        // Asked for first: a failed INSERT ends the transaction, and leaves a line in the server's log.
        if self.is_taken(session, key).await? {
            return Err(StoreError::duplicate());
        }
        let caller = self.caller_in(session, caller).await?;
        let stored = self.owner_in(session, owner.id()).await?.ok_or_else(StoreError::not_found)?;
        if !judge(&stored, caller.as_ref()) {
            return Err(StoreError::not_applied());
        }
        let belonging = self.belonging(session, key).await?;
        self.add_key(session, key, belonging).await?;
        self.key_in(session, self.id_of(key)).await?.ok_or_else(failure::vanished)
    }

    /// The id that the key has once it is stored.
    pub(super) fn id_of(&self, key: &ApiKey) -> KeyId {
        if self.is_smarter() { key.id() } else { KeyId::of_digest(key.digest()) }
    }

    /// Whether its digest or, where it has one of its own, its id is another key's.
    pub(super) async fn is_taken(
        &self,
        session: &mut Session,
        key: &ApiKey,
    ) -> Result<bool, StoreError> {
        let mut text = format!("SELECT '' FROM {} WHERE digest = ?", self.schema.tokens);
        let mut values = vec![Some(key.digest().to_hex())];
        if let Some(smarter) = self.smarter() {
            let dialect = self.schema.dialect;
            text.push_str(&format!(
                " UNION ALL SELECT '' FROM {} WHERE key_id = {}",
                smarter.keys,
                Ids::Uuids.value(dialect)
            ));
            values.push(Some(Ids::uuid(*key.id().as_uuid(), dialect)));
        }
        let statement = Statement { sql: self.schema.compile(&text), values };
        let rows = session.rows(statement).await.map_err(failure::of)?;
        Ok(!rows.is_empty())
    }

    pub(super) async fn add_key(
        &self,
        session: &mut Session,
        key: &ApiKey,
        belonging: Belonging,
    ) -> Result<(), StoreError> {
        self.is_expressible(key)?;
        self.is_version(key)?;
        self.has_token_key_of_its_own(session, key).await?;
        let Belonging { user, profile } = belonging;
        let (dialect, schema) = (self.schema.dialect, &self.schema);
        let moment = dialect.new_moment();
        let text = format!(
            "INSERT INTO {} (digest, created, user_id, expiry, token_key) \
             VALUES (?, {moment}, {}, {moment}, ?)",
            schema.tokens,
            schema.owners.ids.value(dialect)
        );
        let values = vec![
            Some(key.digest().to_hex()),
            Some(schema.bound(key.created_at())),
            Some(user),
            key.expires_at().map(|at| schema.bound(at)),
            Some(key.token_key().expose().to_owned()),
        ];
        let statement = Statement { sql: schema.compile(&text), values };
        session.execute(statement).await.map_err(failure::of)?;
        let (Some(smarter), Some(profile)) = (self.smarter(), profile) else { return Ok(()) };
        let text = format!(
            "INSERT INTO {} (authtoken_ptr_id, created_at, updated_at, name, description, version, \
             annotations, user_profile_id, key_id, last_used_at, is_active, tags) \
             VALUES (?, {moment}, {moment}, ?, ?, ?, {json}, {}, {}, {moment}, {}, {json})",
            smarter.keys,
            smarter.profile_ids.value(dialect),
            Ids::Uuids.value(dialect),
            dialect.flag(),
            json = dialect.json(),
        );
        let values = vec![
            Some(key.digest().to_hex()),
            Some(schema.bound(key.created_at())),
            Some(schema.bound(key.updated_at())),
            Some(key.name().to_owned()),
            key.description().map(Into::into),
            key.version().map(Into::into),
            Some(metadata::annotations_of(key)),
            Some(profile),
            Some(Ids::uuid(*key.id().as_uuid(), dialect)),
            key.last_used_at().map(|at| schema.bound(at)),
            Some(flag(key.is_active())),
            Some(metadata::tags_of(key)),
        ];
        let statement = Statement { sql: schema.compile(&text), values };
        session.execute(statement).await.map_err(failure::of).map(drop)
    }

    /// Whether the columns can say all that decides about the key.
    pub(super) fn is_expressible(&self, key: &ApiKey) -> Result<(), StoreError> {
        if key.scopes().next().is_some() {
            return Err(StoreError::unsupported("Django's tables have no column for scopes"));
        }
        if !self.is_smarter() && !key.is_active() {
            return Err(StoreError::unsupported("plain knox's keys have no active flag"));
        }
        Ok(())
    }

    /// Whether Smarter would save a key of this version.
    pub(super) fn is_version(&self, key: &ApiKey) -> Result<(), StoreError> {
        let version = key.version().filter(|_| self.is_smarter());
        if version.is_some_and(|version| !metadata::is_semantic(version)) {
            return Err(StoreError::unsupported(
                "a version that is not a semantic one, such as 1.2.3: Smarter would not save the key",
            ));
        }
        Ok(())
    }

    /// Smarter reads a key back by the first characters of its token.
    async fn has_token_key_of_its_own(
        &self,
        session: &mut Session,
        key: &ApiKey,
    ) -> Result<(), StoreError> {
        let token_key = key.token_key().expose();
        if !self.is_smarter() || token_key.is_empty() {
            return Ok(());
        }
        let text = format!("SELECT '' FROM {} WHERE token_key = ?", self.schema.tokens);
        let values = vec![Some(token_key.to_owned())];
        let statement = Statement { sql: self.schema.compile(&text), values };
        let rows = session.rows(statement).await.map_err(failure::of)?;
        if rows.is_empty() {
            return Ok(());
        }
        Err(StoreError::unsupported(
            "another token begins with the same 15 characters, by which Smarter tells keys apart: \
             issue another one, under a shorter prefix or none",
        ))
    }
}

pub(super) fn flag(flag: bool) -> String {
    (if flag { "1" } else { "0" }).into()
}
