//! Reads rows into records: what is not as we would have written it is an error.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use sqlx::{Column as _, Decode, Error, Postgres, Row as _, Type, postgres::PgRow, types::Uuid};

use super::{super::error::StoreError, moment::Moment};
use crate::value::{
    digest::{DigestAlgorithm, TokenDigest},
    key::{ApiKey, KeyId, Record},
    owner::{AccountId, Owner, OwnerId},
    token::TokenKey,
};

/// Reads records; those of one owner share it.
pub(super) fn records(
    rows: &[PgRow],
    algorithm: DigestAlgorithm,
) -> Result<Vec<Record>, StoreError> {
    let mut owners: HashMap<OwnerId, Arc<Owner>> = HashMap::new();
    let record = |row| {
        let mut columns = Columns::of(row);
        let owner = columns.owner()?;
        let owner = owners.entry(owner.id().clone()).or_insert_with(|| Arc::new(owner));
        let key = columns.key_of(owner.id().clone(), algorithm)?;
        Ok(Record::new(key, Arc::clone(owner)))
    };
    rows.iter().map(record).collect()
}

/// Reads one record.
pub(super) fn record(row: &PgRow, algorithm: DigestAlgorithm) -> Result<Record, StoreError> {
    let mut columns = Columns::of(row);
    let owner = columns.owner()?;
    Ok(Record::new(columns.key_of(owner.id().clone(), algorithm)?, owner))
}

/// Reads an owner alone.
pub(super) fn owner(row: &PgRow) -> Result<Owner, StoreError> {
    Columns::of(row).owner()
}

/// A row's columns, one after the other as the [statements](super::statements) list them: to find each
/// of them by its name, in each row of a batch, takes longer than to read it.
struct Columns<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Columns<'r> {
    fn of(row: &'r PgRow) -> Self {
        Self { row, next: 0 }
    }

    fn owner(&mut self) -> Result<Owner, StoreError> {
        Ok(Owner::new(self.next::<&str>()?)
            .with_username(self.next::<&str>()?)
            .with_active(self.next()?)
            .with_staff(self.next()?)
            .with_superuser(self.next()?)
            .with_accounts(self.next::<Vec<String>>()?))
    }

    fn key_of(&mut self, owner: OwnerId, algorithm: DigestAlgorithm) -> Result<ApiKey, StoreError> {
        let id: KeyId = self.next::<Uuid>()?.into();
        let digest = TokenDigest::from_bytes(algorithm, self.next()?)
            .map_err(|error| self.garbage(&error.to_string()))?;
        Ok(ApiKey::new(id, digest, owner, self.time()?)
            .with_token_key(TokenKey::of(self.next()?))
            .with_account(self.next::<Option<&str>>()?.map(AccountId::from))
            .with_predecessor(self.next::<Option<Uuid>>()?.map(KeyId::from))
            .with_name(self.next::<&str>()?)
            .with_description(self.next::<Option<&str>>()?)
            .with_version(self.next::<Option<&str>>()?)
            .with_tags(self.next::<Vec<String>>()?)
            .with_annotations(self.annotations()?)
            .with_scopes(self.next::<Vec<String>>()?)
            .with_updated_at(self.time()?)
            .with_expires_at(self.optional_time()?)
            .with_last_used_at(self.optional_time()?)
            .with_active(self.next()?))
    }

    fn next<T: Decode<'r, Postgres> + Type<Postgres>>(&mut self) -> Result<T, StoreError> {
        self.next += 1;
        self.row.try_get(self.next - 1).map_err(|error| match error {
            Error::ColumnDecode { source, .. } => self.garbage(&source.to_string()),
            error => StoreError::other(error),
        })
    }

    fn time(&mut self) -> Result<DateTime<Utc>, StoreError> {
        self.next::<Moment>().map(|moment| moment.0)
    }

    fn optional_time(&mut self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.next::<Option<Moment>>().map(|moment| moment.map(|moment| moment.0))
    }

    /// They come as text, which spares sqlx's `json` feature.
    fn annotations(&mut self) -> Result<BTreeMap<String, String>, StoreError> {
        match self.next::<&str>()? {
            // As nearly all are.
            "{}" => Ok(BTreeMap::new()),
            annotations => serde_json::from_str(annotations)
                .map_err(|_| self.garbage("not a JSON object of texts")),
        }
    }

    /// Names the column that was read last, and never its content.
    fn garbage(&self, reason: &str) -> StoreError {
        let column = self.row.column(self.next - 1).name();
        StoreError::other(format!("a row can't be read: column {column} is wrong: {reason}"))
    }
}
