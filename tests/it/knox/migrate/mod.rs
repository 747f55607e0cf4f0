//! The example `migrate` as a process: what becomes of a Django's tokens in tables of our own.

mod arguments;
mod left;
mod moved;
mod resumed;

use std::process::{Command, Output};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tower_token_auth::{Authenticator, Guard, PostgresStore, RejectionKind, SqliteStore};

use crate::{examples::command, support::postgres::Database};

/// Where the tokens go.
enum Target {
    File(TempDir),
    /// With what takes it away at the end.
    Schema {
        url: String,
        _database: Database,
    },
}

impl Target {
    fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    /// An empty schema.
    async fn schema() -> Option<Self> {
        let database = Database::new()?;
        let joint = if database.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{joint}options=-c%20search_path%3D{}", database.url, database.schema);
        database.run(&format!("CREATE SCHEMA {}", database.schema)).await.unwrap();
        Some(Self::Schema { url, _database: database })
    }

    fn url(&self) -> String {
        match self {
            Self::File(folder) => folder.path().join("keys.db").display().to_string(),
            Self::Schema { url, .. } => url.clone(),
        }
    }

    /// Opened as a service opens it: without a word about the digest's algorithm.
    async fn auth(&self) -> (Authenticator, Guard) {
        let built = match self {
            Self::File(_) => {
                Authenticator::builder(SqliteStore::open(self.url()).await.unwrap()).build()
            }
            Self::Schema { url, .. } => {
                Authenticator::builder(PostgresStore::open(url).await.unwrap()).build()
            }
        };
        built.unwrap()
    }

    /// A number that a query answers with; an error where there is no such table yet.
    async fn number(&self, sql: &str) -> Result<i64, sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::File(_) => {
                let mut link = SqliteConnection::connect(&self.url()).await?;
                sqlx::query_scalar(sql).fetch_one(&mut link).await
            }
            Self::Schema { url, .. } => {
                let mut link = PgConnection::connect(url).await?;
                sqlx::query_scalar(sql).fetch_one(&mut link).await
            }
        }
    }

    async fn keys(&self) -> i64 {
        self.number("SELECT count(*) FROM token_auth_keys").await.unwrap()
    }
}

fn migrate(from: &str, target: &Target, more: &[&str]) -> Command {
    let mut command = command("migrate");
    with(&mut command, from, target, more);
    command
}

fn with(command: &mut Command, from: &str, target: &Target, more: &[&str]) {
    command.env("MIGRATE_FROM", from).env("MIGRATE_TO", target.url()).args(more);
}

/// What a run that succeeds prints.
fn run(from: &str, target: &Target, more: &[&str]) -> String {
    succeeds(&migrate(from, target, more).output().unwrap())
}

fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    // No terminal, and so no progress.
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The number before these words in what it printed.
#[track_caller]
fn counted(printed: &str, words: &str) -> u32 {
    let line = printed.lines().find_map(|line| {
        let (count, rest) = line.trim_start().split_once(' ')?;
        rest.starts_with(words).then(|| count.parse().ok())?
    });
    line.unwrap_or_else(|| panic!("{words}: {printed}"))
}

async fn refused(auth: &Authenticator, token: &str) -> RejectionKind {
    auth.authenticate(token).await.expect_err("it is admitted").kind()
}
