//! Reads rows into records: what is not as we would have written it is an error.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Decode, Row as _, Sqlite, Type, sqlite::SqliteRow};

use super::super::error::StoreError;
use crate::value::{
    digest::{DigestAlgorithm, TokenDigest},
    key::{ApiKey, KeyId, Record},
    owner::{AccountId, Owner, OwnerId},
    token::TokenKey,
};

/// Reads records; those of one owner share it.
pub(super) fn records(
    rows: &[SqliteRow],
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
pub(super) fn record(row: &SqliteRow, algorithm: DigestAlgorithm) -> Result<Record, StoreError> {
    Ok(Record::new(key(row, algorithm)?, owner(row)?))
}

/// Reads the owner's columns, of a record or alone.
pub(super) fn owner(row: &SqliteRow) -> Result<Owner, StoreError> {
    let id: &str = column(row, "owner_id")?;
    Ok(Owner::new(id)
        .with_username(column::<&str>(row, "username")?)
        .with_active(flag(row, "owner_is_active")?)
        .with_staff(flag(row, "is_staff")?)
        .with_superuser(flag(row, "is_superuser")?)
        .with_accounts(texts(row, "accounts")?))
}

fn key(row: &SqliteRow, algorithm: DigestAlgorithm) -> Result<ApiKey, StoreError> {
    let id: KeyId = column::<&str>(row, "key_id")?.parse().map_err(|e| garbage("key_id", &e))?;
    let digest = TokenDigest::from_hex(algorithm, column(row, "digest")?)
        .map_err(|error| garbage("digest", &error))?;
    let owner = OwnerId::from(column::<&str>(row, "owner_id")?);
    let account = column::<Option<&str>>(row, "account_id")?;
    let predecessor = column::<Option<&str>>(row, "predecessor_id")?.map(str::parse).transpose();
    let predecessor = predecessor.map_err(|error| garbage("predecessor_id", &error))?;
    Ok(ApiKey::new(id, digest, owner, time(row, "created_at")?)
        .with_token_key(TokenKey::of(column(row, "token_key")?))
        .with_account(account.map(AccountId::from))
        .with_predecessor(predecessor)
        .with_name(column::<&str>(row, "name")?)
        .with_description(column::<Option<&str>>(row, "description")?)
        .with_version(column::<Option<&str>>(row, "version")?)
        .with_tags(texts(row, "tags")?)
        .with_annotations(annotations(row)?)
        .with_scopes(texts(row, "scopes")?)
        .with_updated_at(time(row, "updated_at")?)
        .with_expires_at(optional_time(row, "expires_at")?)
        .with_last_used_at(optional_time(row, "last_used_at")?)
        .with_active(flag(row, "is_active")?))
}

fn column<'r, T>(row: &'r SqliteRow, name: &'static str) -> Result<T, StoreError>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
{
    row.try_get(name).map_err(StoreError::other)
}

/// Any number but 0 and 1 is garbage, and does not count as "active".
fn flag(row: &SqliteRow, name: &'static str) -> Result<bool, StoreError> {
    match column::<i64>(row, name)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(garbage(name, &"neither 0 nor 1")),
    }
}

fn time(row: &SqliteRow, name: &'static str) -> Result<DateTime<Utc>, StoreError> {
    in_years(column(row, name)?, name)
}

fn optional_time(row: &SqliteRow, name: &'static str) -> Result<Option<DateTime<Utc>>, StoreError> {
    column::<Option<i64>>(row, name)?.map(|micros| in_years(micros, name)).transpose()
}

fn in_years(micros: i64, name: &'static str) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| garbage(name, &"microseconds beyond the calendar"))
}

fn texts(row: &SqliteRow, name: &'static str) -> Result<Vec<String>, StoreError> {
    let wrong = || garbage(name, &"not a JSON list of texts");
    let Ok(Value::Array(items)) = serde_json::from_str(column(row, name)?) else {
        return Err(wrong());
    };
    let text = |item| if let Value::String(text) = item { Ok(text) } else { Err(wrong()) };
    items.into_iter().map(text).collect()
}

fn annotations(row: &SqliteRow) -> Result<BTreeMap<String, String>, StoreError> {
    let wrong = || garbage("annotations", &"not a JSON object of texts");
    let Ok(Value::Object(items)) = serde_json::from_str(column(row, "annotations")?) else {
        return Err(wrong());
    };
    let text = |(name, item)| {
        if let Value::String(text) = item { Ok((name, text)) } else { Err(wrong()) }
    };
    items.into_iter().map(text).collect()
}

/// Names the column and never its content.
fn garbage(column: &str, reason: &dyn fmt::Display) -> StoreError {
    StoreError::other(format!("a row can't be read: column {column} is wrong: {reason}"))
}
