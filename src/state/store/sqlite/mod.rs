//! The embedded store: keys in a SQLite file, alone or beside a user's own tables.

mod changelog;
mod failure;
mod family;
mod feed;
mod list;
mod location;
mod migrate;
mod options;
mod pools;
mod read;
mod row;
mod schema;
mod statements;
mod steps;
mod write;

use std::{fmt, path::Path, sync::Arc};

use sqlx::{Sqlite, SqlitePool, pool::PoolConnection};

pub use feed::SqliteFeed;
pub use options::SqliteOptions;

use self::{pools::Pools, statements::Statements};
use super::{error::StoreError, sql::Prefix};
use crate::value::digest::DigestAlgorithm;

/// Keys in a SQLite database. Clones share its connections.
///
/// # Rules
/// 1. [`open`](Self::open) makes the file and its tables if they are not there, and brings older
///    tables up to date, in one transaction. Two processes may do so at once.
/// 2. A database that it opened itself is in WAL mode, so that reads never wait for a change, and
///    its changes are synced to disk before they return (`synchronous = FULL`): a revocation
///    survives the machine's power being cut. One connection writes; others read.
/// 3. On a [pool of the user's](Self::from_pool) every change is a `BEGIN IMMEDIATE` transaction,
///    and no setting of the pool is touched: its `synchronous` decides what a power cut may undo.
/// 4. All tables and indices begin with one [prefix](SqliteOptions::table_prefix), and their
///    versions are kept in a table of their own, so that a user's own migrations may run before
///    and after ours in the same database.
/// 5. A file that can't be written still authenticates if its tables are up to date; changes and
///    last uses then answer [`is_unsupported`](StoreError::is_unsupported). A WAL database in a
///    folder that can't be written needs `?immutable=1`, which is right only while nothing else
///    changes the file.
/// 6. A row that can't be read is an error, never an absent key or a missing expiry. A key whose
///    owner was deleted is no key.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_token_auth::{DigestAlgorithm, SqliteStore, TokenDigest, store::KeyStore};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("token-auth.db");
/// let store = SqliteStore::open(path).await?;
/// let unknown = TokenDigest::of(DigestAlgorithm::Sha256, "no such token");
/// assert!(store.find(unknown).await?.is_none());
///
/// let error = SqliteStore::open("no/such/folder/token-auth.db").await.unwrap_err();
/// assert!(error.to_string().contains("create the folder"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteStore {
    pools: Arc<Pools>,
    algorithm: DigestAlgorithm,
    prefix: Prefix,
    statements: Arc<Statements>,
}

impl SqliteStore {
    /// Opens a database with the default options: a path such as `token-auth.db`, or a URL such as
    /// `sqlite:token-auth.db?mode=ro`.
    ///
    /// # Errors
    /// When the database can't be opened or used; the message says what to do.
    pub async fn open(location: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::options().open(location).await
    }

    /// Keeps the keys in a database of the user's own, with the default options.
    ///
    /// # Errors
    /// When the database can't be used; the message says what to do.
    pub async fn from_pool(pool: SqlitePool) -> Result<Self, StoreError> {
        Self::options().from_pool(pool).await
    }

    /// Sets up a store other than by default.
    pub fn options() -> SqliteOptions {
        SqliteOptions::default()
    }

    /// Waits until every connection that [`open`](Self::open) made is closed, so that the file may
    /// be moved or copied. A pool of the user's stays open, and the connection of a
    /// [feed](Self::feed) goes when the feed looks next.
    pub async fn close(&self) {
        self.pools.close().await;
    }

    /// The connections that read.
    fn reader(&self) -> Result<SqlitePool, StoreError> {
        Ok(self.pools.current()?.read)
    }

    /// A connection for a change.
    async fn writer(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        let pool = self.pools.current()?.write;
        let pool = pool.ok_or_else(|| StoreError::unsupported(failure::READ_ONLY))?;
        loop {
            let connection = pool.acquire().await.map_err(failure::of)?;
            // SQLite may end a transaction by itself, on a full disk for one; sqlx then counts it
            // as open for good, and no change could ever begin on this connection again.
            if !sqlx::Connection::is_in_transaction(&*connection) {
                return Ok(connection);
            }
            connection.close().await.map_err(failure::of)?;
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("algorithm", &self.algorithm)
            .field("is_writable", &self.pools.current().is_ok_and(|pair| pair.write.is_some()))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Row as _};

    use super::*;

    async fn opened() -> (tempfile::TempDir, SqliteStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
        (folder, store)
    }

    async fn pragma(connection: &mut sqlx::SqliteConnection, name: &str) -> String {
        let sql = AssertSqlSafe(format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"));
        sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
    }

    /// Asked of the very connections that write and read.
    #[tokio::test]
    async fn what_is_opened_is_in_wal_mode_and_syncs_fully() {
        let (_folder, store) = opened().await;
        let mut writer = store.writer().await.unwrap();
        let mut reader = store.reader().unwrap().acquire().await.unwrap();
        for (name, expected) in
            [("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "1")]
        {
            assert_eq!(pragma(&mut writer, name).await, expected, "{name}");
        }
        let sql = "SELECT CAST(timeout AS TEXT) FROM pragma_busy_timeout";
        let timeout: String = sqlx::query_scalar(sql).fetch_one(&mut *writer).await.unwrap();
        assert_eq!(timeout, "5000");
        assert_eq!(pragma(&mut reader, "query_only").await, "1");
    }

    /// The statements as they are sent, under statistics that would tempt the planner to begin with
    /// the owners: without CROSS JOIN it does, and this fails.
    #[tokio::test]
    async fn lookups_search_the_primary_key() {
        let (_folder, store) = opened().await;
        let statistics = "ANALYZE; DELETE FROM sqlite_stat1; INSERT INTO sqlite_stat1 VALUES \
                          ('token_auth_keys', 'token_auth_keys', '1000000 500000'), \
                          ('token_auth_keys', 'token_auth_keys_of_owner', '1000000 1 1'), \
                          ('token_auth_owners', 'token_auth_owners', '1 1'); \
                          ANALYZE sqlite_schema;";
        let mut writer = store.writer().await.unwrap();
        sqlx::raw_sql(statistics).execute(&mut *writer).await.unwrap();
        for sql in [&store.statements.find, &store.statements.find_many] {
            let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.as_str()));
            let rows = sqlx::query(sql).bind("[]").fetch_all(&mut *writer).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            assert_eq!(plan[0], "SEARCH k USING PRIMARY KEY (digest=?)", "{plan:#?}");
            let scanned = |step: &&String| step.starts_with("SCAN") && !step.contains("json_each");
            assert_eq!(plan.iter().find(scanned), None, "{plan:#?}");
        }
    }
}
