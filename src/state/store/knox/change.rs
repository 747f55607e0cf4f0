//! One write of a change, in the order in which the foreign keys allow it.

use super::{
    super::{contract::KeyWrite, error::StoreError},
    KnoxStore,
    add::flag,
    failure, metadata,
    schema::Smarter,
    session::{Session, Statement},
};
use crate::value::key::{ApiKey, KeyId, Record};

/// Columns to set: each with how its value stands in a statement, and the value.
type Columns = Vec<(&'static str, &'static str, Option<String>)>;

impl KnoxStore {
    /// Makes one write; answers with the row as it is to be told. A key that is added is the successor
    /// of `own`, the one that the change was decided on: whoever named that one in Smarter names this
    /// one from then on.
    pub(super) async fn write_in(
        &self,
        session: &mut Session,
        own: &Record,
        write: &KeyWrite,
    ) -> Result<Record, StoreError> {
        match write {
            KeyWrite::Insert(key) => {
                if self.is_taken(session, key).await? {
                    return Err(StoreError::duplicate());
                }
                let belonging = self.belonging_of(session, own, key).await?;
                self.add_key(session, key, belonging).await?;
                self.point_links(session, own.key(), key).await?;
                self.key_in(session, self.id_of(key)).await?.ok_or_else(failure::vanished)
            }
            KeyWrite::Update(key) => {
                let stored = self.key_in(session, key.id()).await?;
                let stored = stored.ok_or_else(StoreError::not_found)?;
                self.set_key(session, stored.key(), key).await?;
                self.key_in(session, key.id()).await?.ok_or_else(failure::vanished)
            }
            KeyWrite::Delete(id) => self.remove_key(session, *id).await,
        }
    }

    /// Writes the columns in which the two differ. Those of Smarter's that hold a shape of their own stay
    /// as they are, unless they are changed.
    async fn set_key(
        &self,
        session: &mut Session,
        stored: &ApiKey,
        key: &ApiKey,
    ) -> Result<(), StoreError> {
        self.is_expressible(key)?;
        let digest = stored.digest().to_hex();
        let schema = &self.schema;
        let moment = schema.dialect.new_moment();
        if key.expires_at() != stored.expires_at() {
            let expiry = key.expires_at().map(|at| schema.bound(at));
            let columns = vec![("expiry", moment, expiry)];
            self.set(session, &schema.tokens, "digest", &digest, columns).await?;
        }
        let Some(smarter) = self.smarter() else { return Ok(()) };
        let mut columns: Columns = vec![
            ("is_active", schema.dialect.flag(), Some(flag(key.is_active()))),
            ("updated_at", moment, Some(schema.bound(key.updated_at()))),
        ];
        if key.name() != stored.name() {
            columns.push(("name", "?", Some(key.name().into())));
        }
        if key.description() != stored.description() {
            columns.push(("description", "?", key.description().map(Into::into)));
        }
        // What stands there already, of whatever shape, keeps no key from being ended.
        if key.version() != stored.version() {
            self.is_version(key)?;
            columns.push(("version", "?", key.version().map(Into::into)));
        }
        if !key.tags().eq(stored.tags()) {
            columns.push(("tags", schema.dialect.json(), Some(metadata::tags_of(key))));
        }
        if !key.annotations().eq(stored.annotations()) {
            let annotations = Some(metadata::annotations_of(key));
            columns.push(("annotations", schema.dialect.json(), annotations));
        }
        if key.account() != stored.account() {
            if key.account().is_none() {
                return Err(StoreError::unsupported("each of Smarter's keys is of an account"));
            }
            let user = self.bound_owner(stored.owner_id()).ok_or_else(StoreError::not_found)?;
            let profile = self.profile_in(session, smarter, &user, key).await?;
            let value = smarter.profile_ids.value(schema.dialect);
            columns.push(("user_profile_id", value, Some(profile)));
        }
        self.set(session, &smarter.keys, "authtoken_ptr_id", &digest, columns).await
    }

    async fn set(
        &self,
        session: &mut Session,
        table: &str,
        by: &str,
        digest: &str,
        columns: Columns,
    ) -> Result<(), StoreError> {
        let set: Vec<String> =
            columns.iter().map(|(name, value, _)| format!("{name} = {value}")).collect();
        let text = format!("UPDATE {table} SET {} WHERE {by} = ?", set.join(", "));
        let values = columns.into_iter().map(|(_, _, value)| value);
        let values = values.chain([Some(digest.to_owned())]).collect();
        let statement = Statement { sql: self.schema.compile(&text), values };
        session.execute(statement).await.map_err(failure::of).map(drop)
    }

    /// What names the key, then Smarter's row, then knox's.
    async fn remove_key(&self, session: &mut Session, id: KeyId) -> Result<Record, StoreError> {
        let stored = self.key_in(session, id).await?.ok_or_else(StoreError::not_found)?;
        let mut from = vec![(self.schema.tokens.as_str(), "digest")];
        if let Some(Smarter { keys, links, .. }) = self.smarter() {
            from.insert(0, (keys, "authtoken_ptr_id"));
            from.splice(0..0, links.iter().map(|links| (links.as_str(), "api_key_id")));
        }
        for (table, by) in from {
            let sql = self.schema.compile(&format!("DELETE FROM {table} WHERE {by} = ?"));
            let values = vec![Some(stored.key().digest().to_hex())];
            session.execute(Statement { sql, values }).await.map_err(failure::of)?;
        }
        Ok(stored)
    }

    pub(super) async fn point_links(
        &self,
        session: &mut Session,
        from: &ApiKey,
        to: &ApiKey,
    ) -> Result<(), StoreError> {
        let Some(Smarter { links: Some(links), .. }) = self.smarter() else { return Ok(()) };
        let text = format!("UPDATE {links} SET api_key_id = ? WHERE api_key_id = ?");
        let values = [to, from].map(|key| Some(key.digest().to_hex())).into();
        let statement = Statement { sql: self.schema.compile(&text), values };
        session.execute(statement).await.map_err(failure::of).map(drop)
    }
}
