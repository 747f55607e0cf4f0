//! A Django site's tables, made by statements of our own: for what no Django would write.

use std::{env, thread};

use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tower_token_auth::{KeyId, KnoxOptions, KnoxStore};

/// The databases that Django's tables are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    MySql,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Sqlite, Kind::Postgres, Kind::MySql];

/// A new database with the tables, which goes with it.
pub(crate) struct Site {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    /// The server's own, and what to say there in the end.
    cleaning: Option<(String, String)>,
    _folder: Option<TempDir>,
}

impl Site {
    /// Plain knox's tables, or Smarter's beside them. `None`, and a line that says so, where no server
    /// was named.
    pub(crate) async fn new(kind: Kind, is_smarter: bool) -> Option<Self> {
        let site = Self::empty(kind).await?;
        let ddl = match kind {
            Kind::Sqlite => include_str!("sqlite.sql"),
            Kind::Postgres => include_str!("postgres.sql"),
            Kind::MySql => include_str!("mysql.sql"),
        };
        // As Django makes it on a MariaDB that has the type.
        let ddl = ddl.replace("{uuid}", if is_smarter { "uuid" } else { "char(32)" });
        let (plain, smarter) = ddl.split_once("-- smarter").unwrap();
        site.run(plain).await;
        if is_smarter {
            site.run(smarter).await;
        }
        Some(site)
    }

    /// Without any table.
    pub(crate) async fn empty(kind: Kind) -> Option<Self> {
        let name = unique("site");
        let site = match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("db.sqlite3");
                std::fs::write(&path, "").unwrap();
                let url = format!("sqlite:{}", path.display());
                return Some(Self { kind, url, cleaning: None, _folder: Some(folder) });
            }
            Kind::Postgres => {
                let server = server("TEST_DATABASE_URL")?;
                let url = format!("{server}{}options=-c%20search_path%3D{name}", joint(&server));
                run_on(kind, &server, &format!("CREATE SCHEMA {name}")).await.unwrap();
                let drop = format!("DROP SCHEMA {name} CASCADE");
                Self { kind, url, cleaning: Some((server, drop)), _folder: None }
            }
            Kind::MySql => {
                let server = server("TEST_MYSQL_URL")?;
                let (address, _) = server.rsplit_once('/').unwrap();
                let url = format!("{address}/{name}");
                let make = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
                run_on(kind, &server, &make).await.unwrap();
                let drop = format!("DROP DATABASE {name}");
                Self { kind, url, cleaning: Some((server, drop)), _folder: None }
            }
        };
        Some(site)
    }

    pub(crate) async fn store(&self) -> KnoxStore {
        Self::options().open(&self.url).await.unwrap()
    }

    pub(crate) fn options() -> KnoxOptions {
        KnoxStore::options().max_connections(4)
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.try_run(sql).await.unwrap_or_else(|error| panic!("{:?}: {error}: {sql}", self.kind));
    }

    pub(crate) async fn try_run(&self, sql: &str) -> Result<(), sqlx::Error> {
        run_on(self.kind, &self.url, sql).await
    }

    /// The first column of the first row of a query that answers with a text; `None` for NULL.
    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        self.texts(sql).await.into_iter().next().unwrap_or_else(|| panic!("no row: {sql}"))
    }

    /// The first column of a query that answers with texts.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<Option<String>> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self.kind {
            Kind::Sqlite => {
                let mut link = SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut link).await.unwrap()
            }
            Kind::Postgres => {
                let mut link = PgConnection::connect(&self.url).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut link).await.unwrap()
            }
            Kind::MySql => {
                let mut link = MySqlConnection::connect(&self.url).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut link).await.unwrap()
            }
        }
    }

    /// Active staff users of these ids, of no account.
    pub(crate) async fn users(&self, ids: &[u32]) {
        for id in ids {
            self.user(*id, true, true, false).await;
        }
    }

    pub(crate) async fn user(&self, id: u32, is_active: bool, is_staff: bool, is_superuser: bool) {
        let at = self.at("2026-01-02 03:04:05");
        self.run(&format!(
            "INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, \
             is_staff, is_active, date_joined) VALUES ({id}, '', {is_superuser}, 'user {id}', '', '', '', \
             {is_staff}, {is_active}, {at})"
        ))
        .await;
    }

    /// An account of Smarter's.
    pub(crate) async fn account(&self, id: u32, number: &str) {
        let at = self.at("2026-01-02 03:04:05");
        self.run(&format!(
            "INSERT INTO account_account (id, created_at, updated_at, account_number) \
             VALUES ({id}, {at}, {at}, '{number}')"
        ))
        .await;
    }

    /// A profile of Smarter's.
    pub(crate) async fn profile(&self, id: u32, user: u32, account: u32) {
        let at = self.at("2026-01-02 03:04:05");
        self.run(&format!(
            "INSERT INTO account_userprofile (id, created_at, updated_at, user_id, account_id) \
             VALUES ({id}, {at}, {at}, {user}, {account})"
        ))
        .await;
    }

    /// A row of knox's; `expiry` is SQL.
    pub(crate) async fn token(&self, digest: &str, user: u32, expiry: &str) {
        let at = self.at("2026-01-02 03:04:05.678901");
        self.run(&format!(
            "INSERT INTO knox_authtoken (digest, created, user_id, expiry, token_key) \
             VALUES ('{digest}', {at}, {user}, {expiry}, '{}')",
            &digest[..15]
        ))
        .await;
    }

    /// Smarter's row beside it, of this profile.
    pub(crate) async fn key(&self, digest: &str, profile: u32, is_active: bool) {
        let at = self.at("2026-01-02 03:04:05.678901");
        let id = unique("");
        self.run(&format!(
            "INSERT INTO drf_smarterauthtoken (authtoken_ptr_id, created_at, updated_at, name, \
             user_profile_id, key_id, is_active, tags) VALUES ('{digest}', {at}, {at}, 'a_key', \
             {profile}, '{}', {is_active}, '[]')",
            &id[1..]
        ))
        .await;
    }

    /// A moment in UTC as a literal.
    pub(crate) fn at(&self, moment: &str) -> String {
        match self.kind {
            Kind::Sqlite | Kind::MySql => format!("'{moment}'"),
            Kind::Postgres => format!("'{moment}+00'"),
        }
    }
}

/// A name that nobody else uses.
fn unique(what: &str) -> String {
    format!("{what}_{}", KeyId::random().as_uuid().simple())
}

fn server(variable: &str) -> Option<String> {
    let named = env::var(variable).ok();
    if named.is_none() {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        println!("SKIPPED {test}: {variable} names no server");
    }
    named
}

fn joint(url: &str) -> char {
    if url.contains('?') { '&' } else { '?' }
}

async fn run_on(kind: Kind, url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(sql.to_owned());
    match kind {
        Kind::Sqlite => {
            let mut link = SqliteConnection::connect(url).await?;
            sqlx::raw_sql(sql).execute(&mut link).await?;
            link.close().await
        }
        Kind::Postgres => {
            let mut link = PgConnection::connect(url).await?;
            sqlx::raw_sql(sql).execute(&mut link).await?;
            link.close().await
        }
        Kind::MySql => {
            let mut link = MySqlConnection::connect(url).await?;
            sqlx::raw_sql(sql).execute(&mut link).await?;
            link.close().await
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let Some((server, drop)) = self.cleaning.take() else { return };
        let kind = self.kind;
        let dropped = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(run_on(kind, &server, &drop))
        });
        let dropped = dropped.join();
        if !thread::panicking() {
            dropped.unwrap().unwrap();
        }
    }
}
