//! Whether a SQLite file was written to since it was looked at last.

use std::sync::Arc;

use sqlx::{ConnectOptions as _, SqliteConnection};

use super::super::{
    super::{error::StoreError, file::FileId},
    failure,
    following::Following,
    session::Pool,
};

/// A connection of its own, that writes nothing: SQLite's `data_version` counts what *others* commit.
pub(super) struct Wake {
    connection: SqliteConnection,
    file: Arc<Following>,
    /// The one that the connection has open.
    id: Option<FileId>,
    seen: Option<i64>,
}

impl Wake {
    /// `None` for a database of another kind, which has no such count.
    pub(super) async fn of(pool: &Pool) -> Result<Option<Self>, StoreError> {
        let Pool::Sqlite(file) = pool else { return Ok(None) };
        // Before it is opened, and looked at again behind that.
        let id = file.id();
        let pool = file.pool().await.map_err(failure::of_read)?;
        let connection = pool.connect_options().connect().await.map_err(failure::of_read)?;
        let wake = Self { connection, file: Arc::clone(file), id, seen: None };
        wake.is_in_place()?;
        Ok(Some(wake))
    }

    /// Whether anybody has committed since it was asked last. Dropped, it was not asked.
    pub(super) async fn has_changed(&mut self) -> Result<bool, StoreError> {
        self.is_in_place()?;
        let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.connection);
        let version: i64 = version.await.map_err(failure::of_read)?;
        Ok(self.seen.replace(version) != Some(version))
    }

    /// What is committed to another file in its place never shows in this one.
    fn is_in_place(&self) -> Result<(), StoreError> {
        if self.file.id() == self.id {
            return Ok(());
        }
        Err(StoreError::unusable("the file of the Django database was replaced or moved away"))
    }
}
