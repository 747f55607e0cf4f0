//! Makes a database ready: its journal, its tables, and the digest algorithm that it records.

use std::{path::PathBuf, time::Duration};

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection, SqlitePool};

use super::{super::sql::Prefix, failure, schema};
use crate::value::{clock::Clock, digest::DigestAlgorithm};

/// Which journal the database is to have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Journal {
    Wal,
    AsItIs,
}

/// Why a database can't be made ready.
pub(super) enum Trouble {
    Database(sqlx::Error),
    /// What is wrong with what stands in it, and what to do.
    Schema(String),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Makes the tables, or brings them up to date, and answers with the database's algorithm.
///
/// A database that another process is making ready is asked again for as long as `patience`:
/// SQLite's own busy timeout does not cover the change into WAL mode, which needs the file alone.
pub(super) async fn prepare(
    pool: &SqlitePool,
    prefix: &Prefix,
    wanted: Option<DigestAlgorithm>,
    journal: Journal,
    patience: Duration,
) -> Result<DigestAlgorithm, Trouble> {
    let clock = Clock::system();
    let deadline = clock.monotonic().after(patience);
    let mut connection = pool.acquire().await?;
    loop {
        match prepare_once(&mut connection, prefix, wanted, journal).await {
            Err(Trouble::Database(error))
                if failure::is_busy(&error) && clock.monotonic() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            done => return done,
        }
    }
}

async fn prepare_once(
    connection: &mut SqliteConnection,
    prefix: &Prefix,
    wanted: Option<DigestAlgorithm>,
    journal: Journal,
) -> Result<DigestAlgorithm, Trouble> {
    if journal == Journal::Wal {
        use_wal(connection).await?;
    }
    // Looked at before a lock is taken, so that a database that is up to date is opened without one
    // and a read-only one can be opened at all.
    if version(connection, prefix).await? < schema::VERSION {
        migrate(connection, prefix, wanted.unwrap_or_default()).await?;
    }
    let recorded = recorded_algorithm(connection, prefix).await?;
    match wanted {
        Some(wanted) if wanted != recorded => Err(Trouble::Schema(format!(
            "it keeps {recorded} digests, and {wanted} was asked for; leave the algorithm out, or \
             choose another database or table prefix"
        ))),
        _ => Ok(recorded),
    }
}

async fn use_wal(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    if mode == "wal" || mode == "memory" {
        return Ok(());
    }
    match sqlx::query("PRAGMA journal_mode = WAL").fetch_one(connection).await {
        // What can't be written can't change its journal either, and may still be read.
        Err(error) if failure::is_read_only(&error) => Ok(()),
        other => other.map(drop),
    }
}

/// Whether the tables are there, of whatever version.
pub(super) async fn is_made(pool: &SqlitePool, prefix: &Prefix) -> Result<bool, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    match version(&mut connection, prefix).await {
        Ok(version) => Ok(version > 0),
        // A newer one is a matter for `prepare`.
        Err(Trouble::Schema(_)) => Ok(true),
        Err(Trouble::Database(error)) => Err(error),
    }
}

/// The file of a database that somebody else opened; `None` for one in memory.
pub(super) async fn file_of(pool: &SqlitePool) -> Result<Option<PathBuf>, sqlx::Error> {
    let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
    let file: Option<String> = sqlx::query_scalar(sql).fetch_one(pool).await?;
    let resolved = file.filter(|file| !file.is_empty()).map(PathBuf::from);
    // By the name that the user chose, if that names a file: it may be a link that is pointed
    // elsewhere one day, and SQLite's is what it pointed to.
    let named = pool.connect_options().get_filename().to_owned();
    Ok(resolved.map(|resolved| if named.is_file() { named } else { resolved }))
}

/// The version of the tables; 0 where there are none. A newer one than this code knows is refused.
pub(super) async fn version(
    connection: &mut SqliteConnection,
    prefix: &Prefix,
) -> Result<i64, Trouble> {
    let table = prefix.fill("{p}migrations");
    let exists = "SELECT EXISTS (SELECT 1 FROM sqlite_schema \
                  WHERE type = 'table' AND name = ?1 COLLATE NOCASE)";
    if !sqlx::query_scalar::<_, bool>(exists).bind(table).fetch_one(&mut *connection).await? {
        return Ok(0);
    }
    let highest = AssertSqlSafe(prefix.fill("SELECT coalesce(max(version), 0) FROM {p}migrations"));
    let version: i64 = sqlx::query_scalar(highest).fetch_one(connection).await?;
    if version > schema::VERSION {
        return Err(Trouble::Schema(format!(
            "its tables are of version {version}, and this release knows versions up to {}; use \
             the release that made them, or a newer one",
            schema::VERSION
        )));
    }
    Ok(version)
}

/// All steps in one transaction, that takes the lock before it looks: of two processes that do so
/// at once, the second finds the work done.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    prefix: &Prefix,
    algorithm: DigestAlgorithm,
) -> Result<(), Trouble> {
    let mut change = connection.begin_with("BEGIN IMMEDIATE").await?;
    let version = version(&mut change, prefix).await?;
    if version < schema::VERSION {
        let ddl = schema::ddl_from(version, prefix, algorithm);
        sqlx::raw_sql(AssertSqlSafe(ddl)).execute(&mut *change).await?;
        change.commit().await?;
    }
    Ok(())
}

async fn recorded_algorithm(
    connection: &mut SqliteConnection,
    prefix: &Prefix,
) -> Result<DigestAlgorithm, Trouble> {
    let sql = prefix.fill("SELECT value FROM {p}settings WHERE name = 'digest_algorithm'");
    let name: Option<String> =
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_optional(connection).await?;
    name.as_deref().and_then(DigestAlgorithm::from_name).ok_or_else(|| {
        Trouble::Schema(format!(
            "the digest algorithm in {prefix}settings is missing or unknown; restore the table, or \
             use a newer release"
        ))
    })
}
