//! Reads rows into records: what decides about a key and is not as Django writes it is an error.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};

use super::{super::error::StoreError, metadata, moment, schema::Schema, session::Cells};
use crate::value::{
    digest::{DigestAlgorithm, TokenDigest},
    key::{ApiKey, KeyId, Record},
    owner::{AccountId, Owner, OwnerId},
    token::TokenKey,
};

/// What is made of an expiry that is no date.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NoDate {
    /// An error: who asks admits, and nothing is admitted by it.
    IsAnError,
    /// A key that has expired long ago: who asks lists, ends or cleans up, and one such row is not to
    /// keep the others from being ended.
    HasExpired,
}

/// The cells of one row, taken in the order in which they are selected.
struct Reader<'a> {
    cells: std::vec::IntoIter<Option<String>>,
    schema: &'a Schema,
    no_date: NoDate,
}

/// Reads records; those of one owner share it.
pub(super) fn records(
    rows: Vec<Cells>,
    schema: &Schema,
    no_date: NoDate,
) -> Result<Vec<Record>, StoreError> {
    let mut owners: HashMap<OwnerId, Arc<Owner>> = HashMap::new();
    let record = |row| {
        let (key, owner) = parts(row, schema, no_date)?;
        let owner = owners.entry(owner.id().clone()).or_insert_with(|| Arc::new(owner));
        Ok(Record::new(key, Arc::clone(owner)))
    };
    rows.into_iter().map(record).collect()
}

/// Reads one row, of which all has to be right.
pub(super) fn record(row: Cells, schema: &Schema) -> Result<Record, StoreError> {
    parts(row, schema, NoDate::IsAnError).map(|(key, owner)| Record::new(key, owner))
}

/// The digest of a row, before anything else of it is read.
pub(super) fn digest_of(row: &Cells) -> Option<&str> {
    row.first()?.as_deref()
}

/// Reads an owner's row.
pub(super) fn owner(row: Cells, schema: &Schema) -> Result<Owner, StoreError> {
    Reader { cells: row.into_iter(), schema, no_date: NoDate::IsAnError }.owner()
}

/// The key, and the user whom it authenticates. In Smarter's database the key is that of its profile's
/// user, who may be somebody else: the ownership rules go by that one, and an authentication never
/// does.
fn parts(row: Cells, schema: &Schema, no_date: NoDate) -> Result<(ApiKey, Owner), StoreError> {
    let mut reader = Reader { cells: row.into_iter(), schema, no_date };
    let digest = reader.text("digest")?;
    let digest = digest_in(&digest)?;
    let token_key = TokenKey::of(&reader.text("token_key")?);
    let created_at = reader.moment("created")?;
    let expires_at = reader.expiry()?;
    let owner = reader.owner()?;
    let new = |id, holder| {
        ApiKey::new(id, digest, holder, created_at)
            .with_token_key(token_key)
            .with_expires_at(expires_at)
    };
    let Some(smarter) = &schema.smarter else {
        return Ok((new(KeyId::of_digest(&digest), owner.id().clone()), owner));
    };
    let id = reader.text("key_id")?.parse().map_err(|_| garbage("key_id", "no UUID"))?;
    let holder = reader.id("user_id of the profile", schema.owners.ids)?;
    let account = reader.id("account_id", smarter.account_ids)?;
    let key = new(id, holder.into()).with_account(Some(AccountId::from(account)));
    Ok((reader.describe(key)?, owner))
}

pub(super) fn digest_in(text: &str) -> Result<TokenDigest, StoreError> {
    TokenDigest::from_hex(DigestAlgorithm::Sha512, text)
        .ok()
        // Django writes lower case, and looks for nothing else.
        .filter(|read| read.to_hex() == text)
        .ok_or_else(|| garbage("digest", "no SHA-512 in lower-case hexadecimal"))
}

impl Reader<'_> {
    fn owner(&mut self) -> Result<Owner, StoreError> {
        let owner = Owner::new(self.id("user_id", self.schema.owners.ids)?)
            .with_username(self.text("username")?)
            .with_active(self.flag("is_active of the owner")?)
            .with_staff(self.flag("is_staff")?)
            .with_superuser(self.flag("is_superuser")?);
        let accounts = self.next();
        let Some(smarter) = &self.schema.smarter else { return Ok(owner) };
        let accounts = accounts.as_deref().map_or(Some(Vec::new()), metadata::texts);
        let told = |id| smarter.account_ids.told(id);
        let accounts = accounts.and_then(|ids| ids.into_iter().map(told).collect());
        let accounts: Vec<String> =
            accounts.ok_or_else(|| garbage("account_id", "no id of an account"))?;
        Ok(owner.with_accounts(accounts))
    }

    /// What Smarter's own columns say, up to the active flag.
    fn describe(&mut self, key: ApiKey) -> Result<ApiKey, StoreError> {
        let key = key
            .with_name(self.text("name")?)
            .with_description(self.next())
            .with_version(self.next().filter(|version| !version.is_empty()))
            .with_tags(metadata::tags(&self.text("tags")?))
            .with_annotations(metadata::annotations(self.next().as_deref()));
        Ok(key
            .with_updated_at(self.moment("updated_at")?)
            .with_last_used_at(self.optional_moment("last_used_at")?)
            .with_active(self.flag("is_active")?))
    }

    fn next(&mut self) -> Option<String> {
        self.cells.next().flatten()
    }

    fn text(&mut self, column: &'static str) -> Result<String, StoreError> {
        self.next().ok_or_else(|| garbage(column, "NULL"))
    }

    fn id(&mut self, column: &'static str, ids: super::ids::Ids) -> Result<String, StoreError> {
        let text = self.text(column)?;
        ids.told(text).ok_or_else(|| garbage(column, "an id of another kind"))
    }

    /// Any number but 0 and 1 is garbage, and does not count as "active".
    fn flag(&mut self, column: &'static str) -> Result<bool, StoreError> {
        match self.text(column)?.as_str() {
            "0" | "false" => Ok(false),
            "1" | "true" => Ok(true),
            _ => Err(garbage(column, "neither 0 nor 1")),
        }
    }

    fn moment(&mut self, column: &'static str) -> Result<DateTime<Utc>, StoreError> {
        let text = self.text(column)?;
        moment::parse(&text, self.schema.zone_of_text()).ok_or_else(|| garbage(column, "no date"))
    }

    fn expiry(&mut self) -> Result<Option<DateTime<Utc>>, StoreError> {
        match (self.optional_moment("expiry"), self.no_date) {
            (Err(_), NoDate::HasExpired) => Ok(Some(moment::LONG_PAST)),
            (read, _) => read,
        }
    }

    /// NULL alone is none.
    fn optional_moment(
        &mut self,
        column: &'static str,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let zone = self.schema.zone_of_text();
        let read =
            |text: String| moment::parse(&text, zone).ok_or_else(|| garbage(column, "no date"));
        self.next().map(read).transpose()
    }
}

/// Names the column and never its content.
fn garbage(column: &str, reason: &str) -> StoreError {
    StoreError::other(format!("a row can't be read: column {column} is wrong: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a column of Django's is never NULL, one that is makes the row no key: whatever "not active" or
    /// "never" it might be taken for, nobody has said so.
    ///
    /// Seen to fail with flags that are false where they are NULL.
    #[test]
    fn null_is_an_error_where_django_writes_none() {
        let (digest, at) = ("a".repeat(128), "2026-01-02 03:04:05");
        let id = KeyId::random().to_string();
        let plain =
            [&*digest, "aaaaaaaaaaaaaaa", at, at, "1", "ada", "true", "true", "false", "[]"];
        let own = [&*id, "1", "1", "name", "text", "1.0", "[]", "[]", at, at, "true"];
        let may_be_null =
            ["expiry", "accounts", "description", "version", "annotations", "last use"];
        for is_smarter in [false, true] {
            let own = own.iter().filter(|_| is_smarter);
            let row: Cells = plain.iter().chain(own).map(|cell| Some((*cell).to_owned())).collect();
            let schema = Schema::nameless(is_smarter);
            assert!(record(row.clone(), &schema).is_ok());
            let nullable: Vec<usize> = (0..row.len())
                .filter(|at| {
                    let mut row = row.clone();
                    row[*at] = None;
                    record(row, &schema).is_ok()
                })
                .collect();
            let expected: Vec<usize> =
                [3, 9, 14, 15, 17, 19].into_iter().filter(|at| *at < row.len()).collect();
            assert_eq!(nullable, expected, "not {may_be_null:?}");
        }
    }
}
