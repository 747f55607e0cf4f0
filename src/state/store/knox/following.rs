//! The connections to a SQLite file, for as long as it is the one that stands in its place.
//!
//! A connection keeps the file that it opened, even when another one stands in its place, as a restored
//! backup does: it would read a deleted database for ever, and admit what is ended in the new one. So
//! whoever takes a connection looks first. Where we made the pool, another one is made over the new file,
//! once its tables are seen to be the same; a pool of the user's answers no more.

use std::{
    io,
    path::PathBuf,
    sync::{OnceLock, PoisonError, RwLock},
};

use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tokio::sync::Mutex;

use super::{
    super::file::FileId, KnoxOptions, connect, dialect::Dialect, discover::discover,
    schema::Schema, session::Session,
};

#[derive(Debug)]
pub(super) struct Following {
    opened: RwLock<Opened>,
    /// `None` for a database in memory.
    path: Option<PathBuf>,
    /// How connections are made; `None` for a pool of the user's.
    maker: Option<(SqliteConnectOptions, KnoxOptions)>,
    /// The tables that were found. Without them, no other file is taken for this one.
    schema: OnceLock<Schema>,
    /// One at a time makes another pool, or closes it for good.
    turn: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Opened {
    pool: SqlitePool,
    /// What stood in its place when the pool was made, before any of its connections.
    file: Option<FileId>,
}

impl Following {
    /// Connections that are made when they are needed.
    pub(super) fn of(connect: SqliteConnectOptions, options: &KnoxOptions) -> Self {
        let file = FileId::of(connect.get_filename());
        let pool = connect::file_pool(connect.clone(), options);
        Self { maker: Some((connect, options.clone())), ..Self::over(pool, file) }
    }

    /// The user's own.
    pub(super) fn of_user_s(pool: SqlitePool) -> Self {
        let file = FileId::of(pool.connect_options().get_filename());
        Self::over(pool, file)
    }

    fn over(pool: SqlitePool, file: Option<FileId>) -> Self {
        let path = pool.connect_options().get_filename().to_owned();
        // Absolute, as the process may change its folder later.
        // One in memory has a name, and no file of that name.
        let path = file.map(|_| std::path::absolute(&path).unwrap_or(path));
        let opened = RwLock::new(Opened { pool, file });
        Self { opened, path, maker: None, schema: OnceLock::new(), turn: Mutex::default() }
    }

    /// The tables that any other file in its place has to have.
    pub(super) fn expect(&self, schema: &Schema) {
        let _ = self.schema.set(schema.clone());
    }

    /// What stands in its place now.
    pub(super) fn id(&self) -> Option<FileId> {
        self.path.as_deref().and_then(FileId::of)
    }

    /// How many connections there may be.
    pub(super) fn size(&self) -> u32 {
        self.opened().pool.options().get_max_connections()
    }

    /// The connections to what stands in its place now.
    pub(super) async fn pool(&self) -> Result<SqlitePool, sqlx::Error> {
        if let Some(pool) = self.standing() {
            return Ok(pool);
        }
        let (Some((connect, options)), Some(schema)) = (&self.maker, self.schema.get()) else {
            return Err(trouble("its file was replaced or moved away; open the store anew"));
        };
        let _alone = self.turn.lock().await;
        if let Some(pool) = self.standing() {
            return Ok(pool);
        }
        let file = self.id().ok_or_else(|| trouble("its file was moved away"))?;
        let connect = connect.clone().create_if_missing(false);
        let pool = connect::file_pool(connect, options);
        let mut session = Session::of_file(pool.acquire().await?);
        let found = discover(&mut session, Dialect::Sqlite, options).await;
        if !found.is_ok_and(|found| found == *schema) || self.id() != Some(file) {
            return Err(trouble(
                "another file was put in its place, with other tables; open the store anew",
            ));
        }
        session.release();
        // Those to the old file close once the last read on them has ended.
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) =
            Opened { pool: pool.clone(), file: Some(file) };
        Ok(pool)
    }

    /// The connections, if they are to what stands in its place, or closed for good.
    fn standing(&self) -> Option<SqlitePool> {
        let Opened { pool, file } = self.opened();
        (file == self.id() || pool.is_closed()).then_some(pool)
    }

    pub(super) async fn close(&self) {
        let _alone = self.turn.lock().await;
        self.opened().pool.close().await;
    }

    fn opened(&self) -> Opened {
        // Nothing under this lock can panic.
        self.opened.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn trouble(what: &'static str) -> sqlx::Error {
    sqlx::Error::Io(io::Error::other(what))
}
