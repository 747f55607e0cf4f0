//! The query of a listing: only the conditions that are asked for, so that each may use its index.

use chrono::{DateTime, Utc};
use sqlx::{Database, QueryBuilder};

use super::{
    super::contract::{KeyFilter, KeyOrder, KeyQuery, Standing},
    Prefix,
};
use crate::value::{digest::TokenDigest, key::KeyId, owner::AccountId, ownership::Relation};

/// What a database has in a way of its own: how its columns keep a value, and what a function is called.
pub(in super::super) trait Dialect: Database + Sized {
    /// Conditions on a text that is bound behind them: they are closed by this and one `)`.
    const HAS_TAG: &'static str;
    const IN_NAME: &'static str;
    const IN_DESCRIPTION: &'static str;

    fn push_digest(sql: &mut QueryBuilder<Self>, digest: TokenDigest);
    fn push_id(sql: &mut QueryBuilder<Self>, id: KeyId);
    fn push_moment(sql: &mut QueryBuilder<Self>, moment: DateTime<Utc>);
    fn push_text(sql: &mut QueryBuilder<Self>, text: Option<String>);
    fn push_flag(sql: &mut QueryBuilder<Self>, flag: bool);
    fn push_number(sql: &mut QueryBuilder<Self>, number: i64);
}

/// One statement for the whole page: filter, ownership and owners are of one moment. `record` selects
/// the columns of a record, with its key as `k`.
pub(in super::super) fn select<DB: Dialect>(
    record: &str,
    prefix: &Prefix,
    query: KeyQuery,
) -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new(prefix.fill(record));
    sql.push("WHERE TRUE");
    let platform = query.platform;
    for standing in filter(&mut sql, query.filter) {
        stands(&mut sql, prefix, standing, platform.as_ref());
    }
    if let Some(after) = query.after {
        sql.push(match query.order {
            KeyOrder::OldestFirst => " AND (k.created_at, k.key_id) > (",
            KeyOrder::NewestFirst => " AND (k.created_at, k.key_id) < (",
        });
        DB::push_moment(&mut sql, after.created_at);
        sql.push(", ");
        DB::push_id(&mut sql, after.id);
        sql.push(")");
    }
    sql.push(match query.order {
        KeyOrder::OldestFirst => " ORDER BY k.created_at, k.key_id LIMIT ",
        KeyOrder::NewestFirst => " ORDER BY k.created_at DESC, k.key_id DESC LIMIT ",
    });
    DB::push_number(&mut sql, i64::from(query.limit.max(1)));
    sql
}

/// What [`KeyFilter::admits`] says, in SQL. Answers with what is left to be asked about users.
fn filter<DB: Dialect>(sql: &mut QueryBuilder<DB>, filter: KeyFilter) -> Vec<Standing> {
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
    if let Some(id) = id {
        sql.push(" AND k.key_id = ");
        DB::push_id(sql, id);
    }
    if let Some(digest) = digest {
        sql.push(" AND k.digest = ");
        DB::push_digest(sql, digest);
    }
    if let Some(owner) = owner {
        sql.push(" AND k.owner_id = ");
        DB::push_text(sql, Some(owner.as_str().to_owned()));
    }
    if let Some(active) = active {
        sql.push(" AND k.is_active = ");
        DB::push_flag(sql, active);
    }
    if let Some(before) = expires_before {
        sql.push(" AND k.expires_at < ");
        DB::push_moment(sql, before);
    }
    if let Some(from) = expires_from {
        sql.push(" AND coalesce(k.expires_at >= ");
        DB::push_moment(sql, from);
        sql.push(", TRUE)");
    }
    if let Some(since) = unused_since {
        sql.push(" AND coalesce(k.last_used_at, k.created_at) < ");
        DB::push_moment(sql, since);
    }
    if let Some(never) = never_used {
        sql.push(" AND (k.last_used_at IS NULL) = ");
        DB::push_flag(sql, never);
    }
    if let Some(before) = created_before {
        sql.push(" AND k.created_at < ");
        DB::push_moment(sql, before);
    }
    if let Some(tag) = tag {
        sql.push(" AND ").push(DB::HAS_TAG);
        DB::push_text(sql, Some(tag.into_string()));
        sql.push(")");
    }
    if let Some(text) = text {
        // Folded here and there in ASCII alone, as the contract has it.
        let text = text.to_ascii_lowercase();
        sql.push(" AND (").push(DB::IN_NAME);
        DB::push_text(sql, Some(text.clone()));
        sql.push(") > 0 OR ").push(DB::IN_DESCRIPTION);
        DB::push_text(sql, Some(text));
        sql.push(") > 0)");
    }
    standing
}

/// What [`Relation::holds`] says, in SQL, of the user's row as it is stored. A missing row, account
/// or platform makes a comparison NULL, which is not true.
fn stands<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    prefix: &Prefix,
    standing: Standing,
    platform: Option<&AccountId>,
) {
    let Standing { user, relation } = standing;
    let is_colleague = prefix.fill(
        "EXISTS (SELECT 1 FROM {p}memberships AS m \
         WHERE m.owner_id = u.id AND m.account_id = k.account_id)",
    );
    sql.push(prefix.fill(" AND EXISTS (SELECT 1 FROM {p}owners AS u WHERE u.id = "));
    DB::push_text(sql, Some(user.as_str().to_owned()));
    match relation {
        Relation::Owner => {
            sql.push(" AND k.owner_id = u.id");
        }
        Relation::Reader | Relation::SharedWith => {
            sql.push(" AND u.is_active AND (u.is_superuser OR k.owner_id = u.id OR ");
            sql.push(is_colleague).push(" OR k.account_id = ");
            DB::push_text(sql, platform.map(|account| account.as_str().to_owned()));
            sql.push(")");
            if relation == Relation::SharedWith {
                sql.push(" AND k.owner_id <> u.id");
            }
        }
        Relation::Manager => {
            sql.push(
                " AND u.is_active AND (u.is_superuser OR k.owner_id = u.id OR u.is_staff AND ",
            );
            sql.push(is_colleague).push(")");
        }
    }
    sql.push(")");
}
