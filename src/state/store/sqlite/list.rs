//! The query of a listing: only the conditions that are asked for, so that each may use its index.

use sqlx::{QueryBuilder, Sqlite};

use super::{
    super::contract::{KeyFilter, KeyOrder, KeyQuery, Standing},
    schema::Prefix,
    statements::RECORD,
};
use crate::value::{owner::AccountId, ownership::Relation};

/// One statement for the whole page: filter, ownership and owners are of one moment.
pub(super) fn select(prefix: &Prefix, query: KeyQuery) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(prefix.fill(RECORD));
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
        sql.push_bind(after.created_at.timestamp_micros()).push(", ");
        sql.push_bind(after.id.to_string()).push(")");
    }
    sql.push(match query.order {
        KeyOrder::OldestFirst => " ORDER BY k.created_at, k.key_id LIMIT ",
        KeyOrder::NewestFirst => " ORDER BY k.created_at DESC, k.key_id DESC LIMIT ",
    });
    sql.push_bind(i64::from(query.limit.max(1)));
    sql
}

/// What [`KeyFilter::admits`] says, in SQL. Answers with what is left to be asked about users.
fn filter(sql: &mut QueryBuilder<Sqlite>, filter: KeyFilter) -> Vec<Standing> {
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
        sql.push(" AND k.key_id = ").push_bind(id.to_string());
    }
    if let Some(digest) = digest {
        sql.push(" AND k.digest = ").push_bind(digest.to_hex());
    }
    if let Some(owner) = owner {
        sql.push(" AND k.owner_id = ").push_bind(owner.as_str().to_owned());
    }
    if let Some(active) = active {
        sql.push(" AND k.is_active = ").push_bind(active);
    }
    if let Some(before) = expires_before {
        sql.push(" AND k.expires_at < ").push_bind(before.timestamp_micros());
    }
    if let Some(from) = expires_from {
        sql.push(" AND ifnull(k.expires_at >= ").push_bind(from.timestamp_micros());
        sql.push(", TRUE)");
    }
    if let Some(since) = unused_since {
        sql.push(" AND ifnull(k.last_used_at, k.created_at) < ");
        sql.push_bind(since.timestamp_micros());
    }
    if let Some(never) = never_used {
        sql.push(" AND (k.last_used_at IS NULL) = ").push_bind(never);
    }
    if let Some(before) = created_before {
        sql.push(" AND k.created_at < ").push_bind(before.timestamp_micros());
    }
    if let Some(tag) = tag {
        sql.push(" AND EXISTS (SELECT 1 FROM json_each(k.tags) AS t WHERE t.value = ");
        sql.push_bind(tag.into_string()).push(")");
    }
    if let Some(text) = text {
        // SQLite's own `lower` knows ASCII alone, as the contract does.
        let text = text.to_ascii_lowercase();
        sql.push(" AND (instr(lower(k.name), ").push_bind(text.clone());
        sql.push(") > 0 OR instr(lower(k.description), ").push_bind(text).push(") > 0)");
    }
    standing
}

/// What [`Relation::holds`] says, in SQL, of the user's row as it is stored. A missing row, account
/// or platform makes a comparison NULL, which is not true.
fn stands(
    sql: &mut QueryBuilder<Sqlite>,
    prefix: &Prefix,
    standing: Standing,
    platform: Option<&AccountId>,
) {
    let Standing { user, relation } = standing;
    let user = user.as_str().to_owned();
    let is_colleague = prefix.fill(
        "EXISTS (SELECT 1 FROM {p}memberships AS m \
         WHERE m.owner_id = u.id AND m.account_id = k.account_id)",
    );
    sql.push(prefix.fill(" AND EXISTS (SELECT 1 FROM {p}owners AS u WHERE u.id = "));
    sql.push_bind(user);
    match relation {
        Relation::Owner => {
            sql.push(" AND k.owner_id = u.id");
        }
        Relation::Reader | Relation::SharedWith => {
            sql.push(" AND u.is_active AND (u.is_superuser OR k.owner_id = u.id OR ");
            sql.push(is_colleague).push(" OR k.account_id = ");
            sql.push_bind(platform.map(|account| account.as_str().to_owned())).push(")");
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
