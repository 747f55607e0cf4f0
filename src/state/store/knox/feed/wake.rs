//! Whether a SQLite file was written to since it was looked at last.

use sqlx::{ConnectOptions as _, SqliteConnection};

use super::super::{super::error::StoreError, failure, session::Pool};

/// A connection of its own, that writes nothing: SQLite's `data_version` counts what *others* commit.
pub(super) struct Wake {
    connection: SqliteConnection,
    seen: Option<i64>,
}

impl Wake {
    /// `None` for a database of another kind, which has no such count.
    pub(super) async fn of(pool: &Pool) -> Result<Option<Self>, StoreError> {
        let Pool::Sqlite(pool) = pool else { return Ok(None) };
        let connection = pool.connect_options().connect().await.map_err(failure::of_read)?;
        Ok(Some(Self { connection, seen: None }))
    }

    /// Whether anybody has committed since it was asked last. Dropped, it was not asked.
    pub(super) async fn has_changed(&mut self) -> Result<bool, StoreError> {
        let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.connection);
        let version: i64 = version.await.map_err(failure::of_read)?;
        Ok(self.seen.replace(version) != Some(version))
    }
}
