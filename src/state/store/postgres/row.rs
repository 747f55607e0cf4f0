//! Reads rows into records: what is not as we would have written it is an error.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use sqlx::{Decode, Postgres, Row as _, Type, postgres::PgRow, types::Uuid};

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
        let owner = owner(row)?;
        let owner = owners.entry(owner.id().clone()).or_insert_with(|| Arc::new(owner));
        Ok(Record::new(key(row, algorithm)?, Arc::clone(owner)))
    };
    rows.iter().map(record).collect()
}

/// Reads one record.
pub(super) fn record(row: &PgRow, algorithm: DigestAlgorithm) -> Result<Record, StoreError> {
    Ok(Record::new(key(row, algorithm)?, owner(row)?))
}

/// Reads the owner's columns, of a record or alone.
pub(super) fn owner(row: &PgRow) -> Result<Owner, StoreError> {
    Ok(Owner::new(column::<&str>(row, "owner_id")?)
        .with_username(column::<&str>(row, "username")?)
        .with_active(column(row, "owner_is_active")?)
        .with_staff(column(row, "is_staff")?)
        .with_superuser(column(row, "is_superuser")?)
        .with_accounts(column::<Vec<String>>(row, "accounts")?))
}

fn key(row: &PgRow, algorithm: DigestAlgorithm) -> Result<ApiKey, StoreError> {
    let id: KeyId = column::<Uuid>(row, "key_id")?.into();
    let digest = TokenDigest::from_bytes(algorithm, column(row, "digest")?)
        .map_err(|error| garbage("digest", &error.to_string()))?;
    let owner = OwnerId::from(column::<&str>(row, "owner_id")?);
    let account = column::<Option<&str>>(row, "account_id")?;
    Ok(ApiKey::new(id, digest, owner, time(row, "created_at")?)
        .with_token_key(TokenKey::of(column(row, "token_key")?))
        .with_account(account.map(AccountId::from))
        .with_predecessor(column::<Option<Uuid>>(row, "predecessor_id")?.map(KeyId::from))
        .with_name(column::<&str>(row, "name")?)
        .with_description(column::<Option<&str>>(row, "description")?)
        .with_version(column::<Option<&str>>(row, "version")?)
        .with_tags(column::<Vec<String>>(row, "tags")?)
        .with_annotations(annotations(row)?)
        .with_scopes(column::<Vec<String>>(row, "scopes")?)
        .with_updated_at(time(row, "updated_at")?)
        .with_expires_at(optional_time(row, "expires_at")?)
        .with_last_used_at(optional_time(row, "last_used_at")?)
        .with_active(column(row, "is_active")?))
}

fn column<'r, T>(row: &'r PgRow, name: &'static str) -> Result<T, StoreError>
where
    T: Decode<'r, Postgres> + Type<Postgres>,
{
    row.try_get(name).map_err(StoreError::other)
}

fn time(row: &PgRow, name: &'static str) -> Result<DateTime<Utc>, StoreError> {
    column::<Moment>(row, name).map(|moment| moment.0)
}

fn optional_time(row: &PgRow, name: &'static str) -> Result<Option<DateTime<Utc>>, StoreError> {
    column::<Option<Moment>>(row, name).map(|moment| moment.map(|moment| moment.0))
}

/// They come as text, which spares sqlx's `json` feature.
fn annotations(row: &PgRow) -> Result<BTreeMap<String, String>, StoreError> {
    serde_json::from_str(column(row, "annotations")?)
        .map_err(|_| garbage("annotations", "not a JSON object of texts"))
}

/// Names the column and never its content.
fn garbage(column: &str, reason: &str) -> StoreError {
    StoreError::other(format!("a row can't be read: column {column} is wrong: {reason}"))
}
