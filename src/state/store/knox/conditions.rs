//! A filter's conditions: only those that are asked for, so that each may use its index.

use chrono::{DateTime, Utc};

use super::{
    super::contract::{KeyFilter, Standing},
    dialect::Dialect,
    ids::Ids,
    list::{Growing, Nothing},
    moment, range,
};
use crate::value::{key::KeyId, owner::OwnerId};

impl Growing<'_> {
    /// What [`KeyFilter::admits`] says, in SQL. Answers with what is left to be asked about users.
    pub(super) fn filter(&mut self, filter: KeyFilter) -> Result<Vec<Standing>, Nothing> {
        let KeyFilter {
            id,
            digest,
            owner,
            active,
            expires_before,
            expires_from,
            unused_since,
            never_used,
            created_before,
            tag,
            text,
            standing,
        } = filter;
        let is_smarter = self.store.is_smarter();
        if let Some(id) = id {
            self.has_id(id)?;
        }
        if let Some(digest) = digest {
            self.push(" AND k.digest = ?", [digest.to_hex()]);
        }
        if let Some(owner) = owner {
            self.is_of(&owner)?;
        }
        match active {
            Some(active) if is_smarter => {
                let is = if active { " AND c.is_active" } else { " AND NOT c.is_active" };
                self.push(is, []);
            }
            Some(false) => return Err(Nothing),
            _ => {}
        }
        if let Some(before) = expires_before {
            self.compare(&self.expiry(), "<", before, "");
        }
        if let Some(from) = expires_from {
            self.compare(&self.expiry(), ">=", from, " OR k.expiry IS NULL");
        }
        let used = if is_smarter { "coalesce(c.last_used_at, k.created)" } else { "k.created" };
        if let Some(since) = unused_since {
            self.compare(&self.comparable(used), "<", since, "");
        }
        match never_used {
            Some(never) if is_smarter => {
                let not = if never { "" } else { " NOT" };
                self.push(&format!(" AND c.last_used_at IS{not} NULL"), []);
            }
            Some(false) => return Err(Nothing),
            _ => {}
        }
        if let Some(before) = created_before {
            self.compare(&self.comparable("k.created"), "<", before, "");
        }
        if let Some(tag) = tag {
            self.has_tag(tag.into_string())?;
        }
        if let Some(text) = text {
            self.holds(&text)?;
        }
        Ok(standing)
    }

    fn compare(&mut self, column: &str, how: &str, at: DateTime<Utc>, or: &str) {
        let any = self.dialect().any_moment();
        let at = self.store.schema.bound(at);
        self.push(&format!(" AND ({column} {how} {any}{or})"), [at]);
    }

    fn expiry(&self) -> String {
        let past = self.store.schema.bound(moment::LONG_PAST);
        self.dialect().comparable_expiry("k.expiry", &past)
    }

    fn has_id(&mut self, id: KeyId) -> Result<(), Nothing> {
        if self.store.is_smarter() {
            let value = Ids::Uuids.value(self.dialect());
            let id = Ids::uuid(*id.as_uuid(), self.dialect());
            self.push(&format!(" AND c.key_id = {value}"), [id]);
        } else {
            let (first, last) = range::digests(id).ok_or(Nothing)?;
            self.push(" AND k.digest BETWEEN ? AND ?", [first, last]);
        }
        Ok(())
    }

    /// Also a key that authenticates the owner and is of somebody else's profile: revoking all of an
    /// owner's keys leaves none with which they get in.
    fn is_of(&mut self, owner: &OwnerId) -> Result<(), Nothing> {
        let (owner, value) = self.owner(owner)?;
        if self.store.is_smarter() {
            let either = format!(" AND (k.user_id = {value} OR p.user_id = {value})");
            self.push(&either, [owner.clone(), owner]);
        } else {
            self.push(&format!(" AND k.user_id = {value}"), [owner]);
        }
        Ok(())
    }

    fn has_tag(&mut self, tag: String) -> Result<(), Nothing> {
        if !self.store.is_smarter() || tag.contains('\0') {
            return Err(Nothing);
        }
        let condition = match self.dialect() {
            Dialect::Sqlite => "EXISTS (SELECT 1 FROM json_each(c.tags) AS t WHERE t.value = ?)",
            Dialect::Postgres => {
                "(jsonb_typeof(c.tags) = 'array' AND c.tags @> to_jsonb(CAST(? AS text)))"
            }
            Dialect::MySql => "JSON_CONTAINS(c.tags, JSON_QUOTE(?))",
        };
        self.push(&format!(" AND {condition}"), [tag]);
        Ok(())
    }

    /// Folded here and there in ASCII alone, as the contract has it.
    fn holds(&mut self, text: &str) -> Result<(), Nothing> {
        if !self.store.is_smarter() || text.contains('\0') {
            return Err(Nothing);
        }
        let within = |column: &str| match self.dialect() {
            // SQLite's own `lower` knows ASCII alone.
            Dialect::Sqlite => format!("instr(lower({column}), ?) > 0"),
            Dialect::Postgres => format!("strpos(lower({column} COLLATE \"C\"), ?) > 0"),
            // Its own folds more than that, and compares by a collation.
            Dialect::MySql => {
                let bytes = format!("CAST(CONVERT({column} USING utf8mb4) AS BINARY)");
                let folded = (b'A'..=b'Z').map(char::from).fold(bytes, |bytes, letter| {
                    format!("REPLACE({bytes}, '{letter}', '{}')", letter.to_ascii_lowercase())
                });
                format!("INSTR({folded}, CAST(? AS BINARY)) > 0")
            }
        };
        let either = format!(" AND ({} OR {})", within("c.name"), within("c.description"));
        let text = text.to_ascii_lowercase();
        self.push(&either, [text.clone(), text]);
        Ok(())
    }
}
