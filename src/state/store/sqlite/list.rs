//! How SQLite says what a listing asks.

use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Sqlite};

use super::super::sql::list::Dialect;
use crate::value::{digest::TokenDigest, key::KeyId};

impl Dialect for Sqlite {
    const HAS_TAG: &'static str = "EXISTS (SELECT 1 FROM json_each(k.tags) AS t WHERE t.value = ";
    // SQLite's own `lower` knows ASCII alone.
    const IN_NAME: &'static str = "instr(lower(k.name), ";
    const IN_DESCRIPTION: &'static str = "instr(lower(k.description), ";

    fn push_digest(sql: &mut QueryBuilder<Self>, digest: TokenDigest) {
        sql.push_bind(digest.to_hex());
    }

    fn push_id(sql: &mut QueryBuilder<Self>, id: KeyId) {
        sql.push_bind(id.to_string());
    }

    fn push_moment(sql: &mut QueryBuilder<Self>, moment: DateTime<Utc>) {
        sql.push_bind(moment.timestamp_micros());
    }

    fn push_text(sql: &mut QueryBuilder<Self>, text: Option<String>) {
        sql.push_bind(text);
    }

    fn push_flag(sql: &mut QueryBuilder<Self>, flag: bool) {
        sql.push_bind(flag);
    }

    fn push_number(sql: &mut QueryBuilder<Self>, number: i64) {
        sql.push_bind(number);
    }
}
