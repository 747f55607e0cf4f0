//! A PostgreSQL server to test on: each test has schemas of its own there, which go with it.

use std::{env, thread};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tower_token_auth::{KeyId, PostgresOptions, PostgresStore};

/// A schema that nobody else uses.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) schema: String,
}

impl Database {
    /// `None`, and a line that says so, where no server was named.
    pub(crate) fn new() -> Option<Self> {
        let Ok(url) = env::var("TEST_DATABASE_URL") else {
            let test = thread::current().name().unwrap_or("a test").to_owned();
            println!("SKIPPED {test}: TEST_DATABASE_URL names no PostgreSQL server");
            return None;
        };
        Some(Self::on(url))
    }

    pub(crate) fn on(url: String) -> Self {
        Self { url, schema: unique("t") }
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresStore::options().schema(&self.schema).unwrap().max_connections(4)
    }

    pub(crate) async fn open(&self) -> PostgresStore {
        self.options().open(&self.url).await.unwrap()
    }

    /// How the server is reached, with this schema before all others.
    pub(crate) fn connect(&self) -> PgConnectOptions {
        let connect: PgConnectOptions = self.url.parse().unwrap();
        connect.options([("search_path", &self.schema)])
    }

    /// A connection past the store.
    pub(crate) async fn connection(&self) -> PgConnection {
        self.connect().connect().await.unwrap()
    }

    pub(crate) async fn pool(&self, connections: u32) -> PgPool {
        let options = PgPoolOptions::new().max_connections(connections);
        options.connect_with(self.connect()).await.unwrap()
    }

    /// Ends the server's side of every connection that listens for changes of this schema.
    pub(crate) fn cut_listeners(&self) -> String {
        format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE \
             'LISTEN \"token_auth_changes_' || left(encode(sha256(convert_to('{}', 'UTF8')), 'hex'), 8) || '%'",
            self.schema
        )
    }

    /// Runs statements on a connection of their own; `{p}` stands for the tables' prefix.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.replace("{p}", "token_auth_"));
        sqlx::raw_sql(sql).execute(&mut self.connection().await).await.map(drop)
    }
}

/// A name that nobody else uses.
pub(crate) fn unique(what: &str) -> String {
    format!("{what}_{}", KeyId::random().as_uuid().simple())
}

impl Drop for Database {
    fn drop(&mut self) {
        let connect: PgConnectOptions = self.url.parse().unwrap();
        // Whoever still holds something of it has failed with its test, and must not keep us.
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM (SELECT DISTINCT l.pid FROM pg_locks AS l \
             JOIN pg_class AS c ON c.oid = l.relation JOIN pg_namespace AS n \
             ON n.oid = c.relnamespace WHERE n.nspname = '{0}' OFFSET 0) AS holders; \
             DROP SCHEMA IF EXISTS \"{0}\" CASCADE",
            self.schema
        );
        let dropped = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let mut connection = connect.connect().await?;
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.map(drop)
            })
        });
        let dropped = dropped.join();
        if !thread::panicking() {
            dropped.unwrap().unwrap();
        }
    }
}
