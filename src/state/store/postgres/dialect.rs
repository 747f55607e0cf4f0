//! How PostgreSQL says what a listing asks.

use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};

use super::{
    super::{contract::KeyQuery, sql::list::Dialect},
    moment::Moment,
};
use crate::value::{digest::TokenDigest, key::KeyId};

impl Dialect for Postgres {
    const HAS_TAG: &'static str = "EXISTS (SELECT 1 FROM unnest(k.tags) AS t WHERE t = ";
    // By the "C" collation, `lower` knows ASCII alone, whatever the database's locale is.
    const IN_NAME: &'static str = "strpos(lower(k.name COLLATE \"C\"), ";
    const IN_DESCRIPTION: &'static str = "strpos(lower(k.description COLLATE \"C\"), ";

    fn push_digest(sql: &mut QueryBuilder<Self>, digest: TokenDigest) {
        sql.push_bind(digest.as_bytes().to_vec());
    }

    fn push_id(sql: &mut QueryBuilder<Self>, id: KeyId) {
        sql.push_bind(*id.as_uuid());
    }

    fn push_moment(sql: &mut QueryBuilder<Self>, moment: DateTime<Utc>) {
        sql.push_bind(Moment::within_reach(moment));
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

/// Whether all that is asked for could be stored: PostgreSQL's texts hold no NUL, so that a listing that
/// asks for one finds nothing.
pub(super) fn is_storable(query: &KeyQuery) -> bool {
    let KeyQuery { filter, platform, .. } = query;
    let ids =
        [filter.owner.as_ref().map(|id| id.as_str()), platform.as_ref().map(|id| id.as_str())];
    let texts = [filter.tag.as_deref(), filter.text.as_deref()];
    let users = filter.standing.iter().map(|standing| standing.user.as_str());
    let mut all = ids.into_iter().chain(texts).flatten().chain(users);
    all.all(|text| !text.contains('\0'))
}
