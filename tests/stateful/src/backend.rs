//! The stores that two processes share.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tower_token_auth::{
    Authenticator, AuthenticatorBuilder, KeyId, MemoryStore, PostgresOptions, PostgresStore,
    SqliteStore, store::KeyRepository,
};

use crate::{
    telling::{Line, Telling},
    watched::Watched,
};

/// A kind of store, and how an authenticator is set up on it.
pub trait Backend: Sized {
    type Store: KeyRepository + Clone;
    const NAME: &'static str;

    /// Made once for many cases, on a thread of its own.
    fn new() -> Self;

    /// An empty store, as each of the two processes opens it.
    fn open(&mut self) -> impl Future<Output = [Self::Store; 2]>;

    /// Gives it back: nothing of it is used any more.
    fn close(&mut self, stores: [Self::Store; 2]) -> impl Future<Output = ()>;

    fn builder(store: Watched<Self::Store>) -> AuthenticatorBuilder {
        Authenticator::builder(store)
    }

    /// By what a process hears of the other one's changes, if it does.
    fn line(_: &Self::Store) -> Option<Arc<Line>> {
        None
    }
}

pub struct Memory;

impl Backend for Memory {
    type Store = MemoryStore;
    const NAME: &'static str = "memory";

    fn new() -> Self {
        Self
    }

    async fn open(&mut self) -> [MemoryStore; 2] {
        let store = MemoryStore::new();
        [store.clone(), store]
    }

    async fn close(&mut self, _: [MemoryStore; 2]) {}
}

/// The same with a revocation feed, by which each process hears of all changes.
pub struct MemoryWithFeed;

impl Backend for MemoryWithFeed {
    type Store = Telling<MemoryStore>;
    const NAME: &'static str = "memory with a feed";

    fn new() -> Self {
        Self
    }

    async fn open(&mut self) -> [Self::Store; 2] {
        Telling::twice(MemoryStore::new())
    }

    async fn close(&mut self, _: [Self::Store; 2]) {}

    fn builder(store: Watched<Self::Store>) -> AuthenticatorBuilder {
        let ear = store.inner().ear();
        Authenticator::builder(store).feed(ear)
    }

    fn line(store: &Self::Store) -> Option<Arc<Line>> {
        Some(Arc::clone(store.line()))
    }
}

/// Two stores with pools of their own on one file, as two processes have them. The file is in a
/// folder in memory where there is one, as nothing is asked of a disk here.
pub struct Sqlite {
    folder: TempDir,
    cases: usize,
}

impl Sqlite {
    /// A database with its tables, made once and copied for each case.
    fn template(&self) -> PathBuf {
        self.folder.path().join("template.db")
    }
}

impl Backend for Sqlite {
    type Store = SqliteStore;
    const NAME: &'static str = "SQLite";

    fn new() -> Self {
        Self { folder: folder().expect("a folder for temporary files"), cases: 0 }
    }

    async fn open(&mut self) -> [SqliteStore; 2] {
        let template = self.template();
        if self.cases == 0 {
            let store = SqliteStore::open(&template).await.expect("a new database");
            store.close().await;
        }
        self.cases += 1;
        let path = self.folder.path().join("keys.db");
        fs::copy(&template, &path).expect("a folder that can be written");
        let options = || SqliteStore::options().read_connections(1);
        [options().open(&path).await.unwrap(), options().open(&path).await.unwrap()]
    }

    async fn close(&mut self, stores: [SqliteStore; 2]) {
        for store in stores {
            store.close().await;
        }
        let path = self.folder.path().join("keys.db");
        fs::remove_file(path).expect("the file is there");
    }
}

fn folder() -> io::Result<TempDir> {
    let in_memory = Path::new("/dev/shm");
    tempfile::Builder::new()
        .prefix("token-auth-stateful")
        .tempdir_in(in_memory)
        .or_else(|_| tempfile::tempdir())
}

/// Two stores with pools of their own on one schema of a PostgreSQL server, as two nodes have them. The
/// schema is made once, and emptied for each case.
///
/// Neither node listens: what it hears, and when, is up to the server, and no model could follow. What a
/// feed does to a node is held to the model by [`MemoryWithFeed`].
pub struct Postgres {
    url: String,
    schema: String,
}

impl Postgres {
    /// Where the server is, if one was named.
    pub fn url() -> Option<String> {
        env::var("TEST_DATABASE_URL").ok()
    }

    fn options(&self) -> PostgresOptions {
        PostgresStore::options().schema(&self.schema).expect("a name").max_connections(2)
    }
}

impl Backend for Postgres {
    type Store = PostgresStore;
    const NAME: &'static str = "PostgreSQL";

    fn new() -> Self {
        let url = Self::url().expect("TEST_DATABASE_URL names a server");
        Self { url, schema: format!("t_{}", KeyId::random().as_uuid().simple()) }
    }

    async fn open(&mut self) -> [PostgresStore; 2] {
        let one = self.options().open(&self.url).await.expect("a server that takes a schema");
        let two = self.options().open(&self.url).await.expect("it was opened before");
        // Keys and memberships go along.
        let sql = format!("DELETE FROM {}.token_auth_owners", self.schema);
        execute(&self.url, sql).await.expect("the tables are there");
        [one, two]
    }

    async fn close(&mut self, stores: [PostgresStore; 2]) {
        for store in stores {
            store.close().await;
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema);
        let url = self.url.clone();
        let dropped = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(execute(&url, sql))
        });
        if let Err(error) = dropped.join().expect("it does not panic") {
            println!("the schema {} is left: {error}", self.schema);
        }
    }
}

async fn execute(url: &str, sql: String) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}
