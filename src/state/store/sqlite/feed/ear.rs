//! The feed's own connection, and its place in the log.

use std::{path::PathBuf, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Row as _, SqlSafeStr as _, SqlStr, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};

use super::{
    super::{
        super::{error::StoreError, feed::Heard, file::FileId},
        SqliteStore, failure,
    },
    Look,
    standing::{Standing, repair},
};
use crate::value::{owner::OwnerId, subject::Subject};

/// How long a look waits for a lock: not long, as the next one comes soon.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// The most rows of one read. The log holds ten times as many, and each is one stamp: cheaper by far
/// than to drop what is cached, which a single row for all of them would do.
const MOST_ROWS: usize = 1_000;

pub(super) struct Ear {
    connection: SqliteConnection,
    path: PathBuf,
    file: FileId,
    read: SqlStr,
    /// What `PRAGMA data_version` said *before* the log was read: a commit in between is seen at the
    /// next look.
    seen: i64,
    /// Where it stands in the log.
    at: Standing,
    /// Whether the last read ended before the log did.
    has_more: bool,
}

impl Ear {
    pub(super) async fn open(store: &SqliteStore) -> Result<Self, StoreError> {
        let pools = &store.pools;
        if pools.is_closed() {
            return Err(StoreError::unusable("the store of this feed was closed"));
        }
        let path = pools.path().ok_or_else(|| {
            StoreError::unusable(
                "a database in memory has no other process to hear from; leave its feed out",
            )
        })?;
        let file = FileId::of(path);
        pools.follow(file, store.algorithm).await?;
        let file = file.ok_or_else(moved)?;
        let options = pools.connect_options()?.create_if_missing(false);
        if is_immutable(&options) {
            return Err(StoreError::unusable(
                "SQLite does not look for changes in a database that is opened with `immutable`; \
                 leave that or the feed out",
            ));
        }
        let options = options.busy_timeout(LOCK_PATIENCE).pragma("query_only", "ON");
        let mut connection = options.connect().await.map_err(failure::of)?;
        let mut at = Standing::read(&mut connection, &store.prefix).await.map_err(failure::of)?;
        if at.is_none() {
            repair(store).await?;
            at = Standing::read(&mut connection, &store.prefix).await.map_err(failure::of)?;
        }
        let at = at.ok_or_else(|| {
            StoreError::unusable("the change log can't be put right; does something alter it?")
        })?;
        // What was opened is the file that stood there before and stands there now.
        if FileId::of(path) != Some(file) {
            return Err(moved());
        }
        let read = AssertSqlSafe(store.prefix.fill(READ)).into_sql_str();
        // As no version is negative, the first look reads the log.
        Ok(Self { connection, path: path.to_owned(), file, read, seen: -1, at, has_more: false })
    }

    /// Looks what is new. Nothing is taken before the last await is over, so that it may be dropped
    /// at any of them.
    pub(super) async fn look(&mut self, is_asked: bool) -> Result<Look, StoreError> {
        if FileId::of(&self.path) != Some(self.file) {
            return Err(moved());
        }
        let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.connection);
        let version: i64 = match version.await {
            Ok(version) => version,
            Err(error) if failure::is_busy(&error) => return Ok(Look::Locked),
            Err(error) => return Err(failure::of(error)),
        };
        if version == self.seen && !is_asked && !self.has_more {
            return Ok(Look::Quiet);
        }
        let rows = sqlx::query(self.read.clone()).bind(self.at.id).bind(1 + MOST_ROWS as i64);
        let rows = match rows.fetch_all(&mut self.connection).await {
            Ok(rows) => rows,
            Err(error) if failure::is_busy(&error) => return Ok(Look::Locked),
            Err(error) => return Err(failure::of(error)),
        };
        let news = self.take(&rows)?;
        self.seen = version;
        self.has_more = rows.len() > MOST_ROWS;
        Ok(Look::Heard { news, has_more: self.has_more })
    }

    /// Takes rows in that begin with the one at which it stands.
    fn take(&mut self, rows: &[SqliteRow]) -> Result<Option<Heard>, StoreError> {
        let mut subjects = Vec::with_capacity(rows.len());
        let mut is_everything = false;
        let mut at = self.at.clone();
        for (row, position) in rows.iter().zip(0_i64..) {
            let id: i64 = column(row, "id")?;
            let nonce: i64 = column(row, "nonce")?;
            if position == 0 {
                self.check(row, id, nonce)?;
                continue;
            }
            if id != self.at.id + position {
                return Err(gap("rows are missing in it"));
            }
            (at.id, at.nonce) = (id, nonce);
            match subject(row)? {
                Some(subject) => subjects.push(subject),
                None => is_everything = true,
            }
        }
        if rows.is_empty() {
            return Err(gap("it was pruned or emptied behind this process"));
        }
        self.at = at;
        Ok(if is_everything {
            Some(Heard::Everything)
        } else {
            (!subjects.is_empty()).then_some(Heard::Revoked(subjects))
        })
    }

    /// Whether the first row is the very one at which it stands, in the very same tables.
    fn check(&self, row: &SqliteRow, id: i64, nonce: i64) -> Result<(), StoreError> {
        let (schema, epoch): (i64, Option<&str>) =
            (column(row, "schema_version")?, column(row, "epoch")?);
        if schema != self.at.schema_version {
            return Err(gap("the schema changed, and with it perhaps its triggers"));
        }
        if epoch != Some(self.at.epoch.as_str()) {
            return Err(gap("it was made anew"));
        }
        if id != self.at.id {
            return Err(gap("it was pruned or emptied behind this process"));
        }
        if nonce != self.at.nonce {
            return Err(gap("it is not the one that was read before; was a backup restored?"));
        }
        Ok(())
    }
}

/// One statement, and so one moment of the database.
const READ: &str = "\
SELECT id, nonce, kind, subject, \
(SELECT schema_version FROM pragma_schema_version) AS schema_version, \
(SELECT value FROM {p}settings WHERE name = 'changes_epoch') AS epoch \
FROM {p}changes WHERE id >= ?1 ORDER BY id LIMIT ?2";

/// What a row is about; `None` for everything.
fn subject(row: &SqliteRow) -> Result<Option<Subject>, StoreError> {
    let subject: &str = column(row, "subject")?;
    match column(row, "kind")? {
        "key" => subject
            .parse()
            .map(|id| Some(Subject::Key(id)))
            .map_err(|_| gap("a row in it names no key id")),
        "owner" => Ok(Some(Subject::Owner(OwnerId::from(subject)))),
        "all" => Ok(None),
        _ => Err(gap("a row in it is of an unknown kind")),
    }
}

fn is_immutable(options: &SqliteConnectOptions) -> bool {
    let url = options.to_url_lossy();
    url.query_pairs().any(|(name, value)| name == "immutable" && value == "true")
}

fn column<'r, T>(row: &'r SqliteRow, name: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(name).map_err(StoreError::other)
}

fn gap(what: &'static str) -> StoreError {
    StoreError::unusable(format!("the change log has a gap: {what}"))
}

fn moved() -> StoreError {
    StoreError::unusable("the file of the key database was replaced or moved away")
}
