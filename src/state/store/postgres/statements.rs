//! Every statement the store sends, written once for its prefix.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use super::super::sql::Prefix;

/// The columns of an owner, as [`row`](super::row) reads them: in this order.
macro_rules! owner_columns {
    () => {
        "SELECT o.id AS owner_id, o.username, o.is_active AS owner_is_active, o.is_staff, \
         o.is_superuser, ARRAY(SELECT m.account_id FROM {p}memberships AS m \
         WHERE m.owner_id = o.id ORDER BY m.account_id) AS accounts"
    };
}

/// The columns of a record, as [`row`](super::row) reads them in this order, with what they are read
/// from. The owner is joined in and its accounts are gathered in the same query.
pub(super) const RECORD: &str = concat!(
    owner_columns!(),
    ", k.key_id, k.digest, k.created_at, k.token_key, k.account_id, k.predecessor_id, k.name, \
     k.description, k.version, k.tags, k.annotations::text AS annotations, k.scopes, \
     k.updated_at, k.expires_at, k.last_used_at, k.is_active \
     FROM {p}keys AS k JOIN {p}owners AS o ON o.id = k.owner_id "
);

pub(super) struct Statements {
    pub(super) find: SqlStr,
    pub(super) find_many: SqlStr,
    pub(super) get: SqlStr,
    pub(super) family: SqlStr,
    pub(super) owner: SqlStr,
    pub(super) record_uses: SqlStr,
    pub(super) lock_keys: SqlStr,
    pub(super) lock_owners_of: SqlStr,
    pub(super) lock_owners: SqlStr,
    pub(super) is_taken: SqlStr,
    pub(super) insert_key: SqlStr,
    pub(super) update_key: SqlStr,
    pub(super) delete_key: SqlStr,
    pub(super) insert_owner: SqlStr,
    pub(super) update_owner: SqlStr,
    pub(super) delete_memberships: SqlStr,
    pub(super) insert_memberships: SqlStr,
}

impl Statements {
    pub(super) fn new(prefix: &Prefix) -> Self {
        // `Arc`, so that a clone for each execution is no copy.
        let sql = |text: &str| AssertSqlSafe(Arc::<str>::from(prefix.fill(text))).into_sql_str();
        let record = |rest: &str| sql(&format!("{RECORD}{rest}"));
        // A membership is held with its owner: two SELECTs, as no outer join can be locked. They run in
        // the order in which they stand.
        let lock_owners = |which: &str| {
            sql(&format!(
                "SELECT 1 FROM (SELECT 1 FROM {{p}}owners AS o WHERE o.id {which} \
                 ORDER BY o.id FOR SHARE) AS a \
                 UNION ALL SELECT 1 FROM (SELECT 1 FROM {{p}}memberships AS m \
                 WHERE m.owner_id {which} ORDER BY m.owner_id, m.account_id FOR SHARE) AS b"
            ))
        };
        Self {
            find: record("WHERE k.digest = $1"),
            find_many: record("WHERE k.digest = ANY ($1)"),
            get: record("WHERE k.key_id = $1"),
            family: record(
                "WHERE k.key_id = $1 OR k.predecessor_id = $1 OR k.key_id = \
                 (SELECT own.predecessor_id FROM {p}keys AS own WHERE own.key_id = $1)",
            ),
            owner: sql(concat!(owner_columns!(), " FROM {p}owners AS o WHERE o.id = $1")),
            // Two uses of one key may come together: the later one stays. The rows are locked in the
            // order of their digests, as every change locks them, so that two nodes that write the same
            // keys wait for each other and never both; and the server asks again of a row that had to
            // be waited for whether its use is due.
            record_uses: sql("WITH due AS (SELECT u.digest, u.key_id, max(u.at) AS at, \
                 max(u.if_before) AS if_before \
                 FROM unnest($1::bytea[], $2::uuid[], $3::timestamptz[], $4::timestamptz[]) \
                 AS u (digest, key_id, at, if_before) GROUP BY u.digest, u.key_id), \
                 held AS (SELECT k.digest, due.at FROM due \
                 JOIN {p}keys AS k ON k.digest = due.digest AND k.key_id = due.key_id \
                 WHERE k.last_used_at IS NULL OR k.last_used_at < due.if_before \
                 ORDER BY k.digest FOR NO KEY UPDATE OF k) \
                 UPDATE {p}keys AS k SET last_used_at = held.at FROM held \
                 WHERE k.digest = held.digest"),
            lock_keys: sql("SELECT k.key_id FROM {p}keys AS k WHERE k.key_id = ANY ($1) \
                 OR k.predecessor_id = ANY ($1) OR k.key_id = ANY \
                 (ARRAY(SELECT own.predecessor_id FROM {p}keys AS own WHERE own.key_id = ANY ($1))) \
                 ORDER BY k.digest FOR UPDATE"),
            lock_owners_of: lock_owners(
                "IN (SELECT k.owner_id FROM {p}keys AS k WHERE k.key_id = ANY ($1) \
                 UNION ALL SELECT unnest($2::text[]))",
            ),
            lock_owners: sql(
                "SELECT 1 FROM {p}owners AS o WHERE o.id = ANY ($1) ORDER BY o.id FOR UPDATE",
            ),
            is_taken: sql("SELECT EXISTS (SELECT 1 FROM {p}keys WHERE digest = $1) \
                 OR EXISTS (SELECT 1 FROM {p}keys WHERE key_id = $2) \
                 OR EXISTS (SELECT 1 FROM {p}keys WHERE predecessor_id = $3)"),
            insert_key: sql(
                "INSERT INTO {p}keys (digest, key_id, token_key, owner_id, account_id, name, \
                 description, version, tags, annotations, scopes, created_at, updated_at, \
                 expires_at, last_used_at, is_active, predecessor_id) VALUES ($1, $2, $3, $4, $5, \
                 $6, $7, $8, $9, $10::text::jsonb, $11, $12, $13, $14, $15, $16, $17)",
            ),
            update_key: sql(
                "UPDATE {p}keys SET account_id = $2, name = $3, description = $4, version = $5, \
                 tags = $6, annotations = $7::text::jsonb, scopes = $8, updated_at = $9, \
                 expires_at = $10, is_active = $11, predecessor_id = $12 WHERE key_id = $1",
            ),
            delete_key: sql("DELETE FROM {p}keys WHERE key_id = $1"),
            insert_owner: sql(
                "INSERT INTO {p}owners (id, username, is_active, is_staff, is_superuser) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING",
            ),
            update_owner: sql(
                "UPDATE {p}owners SET username = $2, is_active = $3, is_staff = $4, \
                 is_superuser = $5 WHERE id = $1",
            ),
            delete_memberships: sql("DELETE FROM {p}memberships WHERE owner_id = $1"),
            insert_memberships: sql("INSERT INTO {p}memberships (owner_id, account_id) \
                 SELECT $1, unnest($2::text[])"),
        }
    }
}
