//! The database that is written: the crate's own tables, for SHA-512, in SQLite or PostgreSQL.

use std::{error::Error, time::Duration};

use sqlx::{Connection as _, PgConnection, SqlitePool};
use tower_token_auth::{Authenticator, DigestAlgorithm::Sha512, Guard, KeyManager, PostgresStore};

use super::file;

/// How many keys are written at a time: PostgreSQL syncs its log for all of them together.
pub(crate) const AT_A_TIME: usize = 16;

/// The URL is not repeated: it may hold a password.
pub(crate) fn unreachable(error: &sqlx::Error) -> String {
    format!("the new database can't be opened ({error}); check what --to names")
}

#[derive(Default)]
pub(crate) struct Target {
    /// `None` on a dry run over a database that has no tables of ours yet.
    pub(crate) keys: Option<KeyManager>,
    pub(crate) is_dry: bool,
    pub(crate) guard: Option<Guard>,
    pub(crate) file: Option<SqlitePool>,
}

impl Target {
    pub(crate) async fn open(url: &str, is_dry: bool) -> Result<Self, Box<dyn Error>> {
        let found = match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => Self::postgres(url, is_dry).await?,
            Some("sqlite") | None => file::open(url, is_dry).await?,
            Some(_) => return Err("--to is no URL of postgres://, and no SQLite file".into()),
        };
        Ok(Self { is_dry, ..found.unwrap_or_default() })
    }

    async fn postgres(url: &str, is_dry: bool) -> Result<Option<Self>, Box<dyn Error>> {
        if is_dry {
            let mut link = PgConnection::connect(url).await.map_err(|error| unreachable(&error))?;
            let asked = sqlx::query_scalar("SELECT to_regclass('token_auth_keys') IS NOT NULL");
            let has_tables: bool = asked.fetch_one(&mut link).await?;
            if !has_tables {
                return Ok(None);
            }
        }
        let options = PostgresStore::options().digest_algorithm(Sha512).migrate(!is_dry);
        let store = options.max_connections(AT_A_TIME as u32).open(url).await?;
        let (auth, guard) = Authenticator::builder(store).build()?;
        Ok(Some(Self { keys: Some(auth.keys()), guard: Some(guard), ..Self::default() }))
    }

    /// Settles what was unknown, and has what was written on the disk.
    pub(crate) async fn close(self) -> Result<(), Box<dyn Error>> {
        if let Some(guard) = self.guard {
            guard.shutdown(Duration::from_secs(10)).await;
        }
        if let Some(file) = self.file {
            if !self.is_dry {
                sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&file).await?;
            }
            file.close().await;
        }
        Ok(())
    }
}
