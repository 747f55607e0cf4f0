//! Every statement the store sends, written once for its prefix.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use super::super::sql::Prefix;

/// The columns of a record, as [`row`](super::row) reads them, with what they are read from. The
/// owner is joined in and its accounts are gathered in the same query. CROSS JOIN keeps SQLite from
/// beginning with the owners, whatever its statistics say.
pub(super) const RECORD: &str = "\
SELECT k.digest, k.key_id, k.token_key, k.account_id, k.name, k.description, k.version, \
k.tags, k.annotations, k.scopes, k.created_at, k.updated_at, k.expires_at, k.last_used_at, \
k.is_active, k.predecessor_id, o.id AS owner_id, o.username, o.is_active AS owner_is_active, o.is_staff, \
o.is_superuser, (SELECT json_group_array(m.account_id) FROM {p}memberships AS m \
WHERE m.owner_id = o.id) AS accounts \
FROM {p}keys AS k CROSS JOIN {p}owners AS o ON o.id = k.owner_id ";

pub(super) struct Statements {
    pub(super) find: SqlStr,
    pub(super) find_many: SqlStr,
    pub(super) get: SqlStr,
    pub(super) successor: SqlStr,
    pub(super) owner: SqlStr,
    pub(super) record_uses: SqlStr,
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
        Self {
            find: record("WHERE k.digest = ?1"),
            find_many: record("WHERE k.digest IN (SELECT value FROM json_each(?1))"),
            get: record("WHERE k.key_id = ?1"),
            successor: record("WHERE k.predecessor_id = ?1"),
            owner: sql(
                "SELECT o.id AS owner_id, o.username, o.is_active AS owner_is_active, o.is_staff, \
                 o.is_superuser, (SELECT json_group_array(m.account_id) FROM {p}memberships AS m \
                 WHERE m.owner_id = o.id) AS accounts FROM {p}owners AS o WHERE o.id = ?1",
            ),
            // Grouped, as two uses of one key may come together: the later one stays.
            record_uses: sql("UPDATE {p}keys SET last_used_at = due.at FROM (\
                 SELECT k.digest AS digest, max(u.value ->> 'at') AS at \
                 FROM json_each(?1) AS u CROSS JOIN {p}keys AS k \
                 ON k.digest = u.value ->> 'digest' AND k.key_id = u.value ->> 'key' \
                 WHERE k.last_used_at IS NULL OR k.last_used_at < u.value ->> 'if_before' \
                 GROUP BY k.digest) AS due \
                 WHERE {p}keys.digest = due.digest"),
            is_taken: sql("SELECT EXISTS (SELECT 1 FROM {p}keys WHERE digest = ?1) \
                 OR EXISTS (SELECT 1 FROM {p}keys WHERE key_id = ?2) \
                 OR EXISTS (SELECT 1 FROM {p}keys WHERE predecessor_id = ?3)"),
            insert_key: sql(
                "INSERT INTO {p}keys (digest, key_id, token_key, owner_id, account_id, name, \
                 description, version, tags, annotations, scopes, created_at, updated_at, \
                 expires_at, last_used_at, is_active, predecessor_id) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ),
            update_key: sql(
                "UPDATE {p}keys SET account_id = ?2, name = ?3, description = ?4, version = ?5, \
                 tags = ?6, annotations = ?7, scopes = ?8, updated_at = ?9, expires_at = ?10, \
                 is_active = ?11, predecessor_id = ?12 WHERE key_id = ?1",
            ),
            delete_key: sql("DELETE FROM {p}keys WHERE key_id = ?1"),
            insert_owner: sql(
                "INSERT INTO {p}owners (id, username, is_active, is_staff, is_superuser) \
                 VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            ),
            update_owner: sql(
                "UPDATE {p}owners SET username = ?2, is_active = ?3, is_staff = ?4, \
                 is_superuser = ?5 WHERE id = ?1",
            ),
            delete_memberships: sql("DELETE FROM {p}memberships WHERE owner_id = ?1"),
            insert_memberships: sql("INSERT INTO {p}memberships (owner_id, account_id) \
                 SELECT ?1, value FROM json_each(?2)"),
        }
    }
}
