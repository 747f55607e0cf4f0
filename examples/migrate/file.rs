//! A SQLite file to write to.

use std::{error::Error, str::FromStr as _};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tower_token_auth::{Authenticator, DigestAlgorithm::Sha512, SqliteStore};

use super::target::{Target, unreachable};

pub(crate) async fn open(url: &str, is_dry: bool) -> Result<Option<Target>, Box<dyn Error>> {
    let options = match url.strip_prefix("sqlite:") {
        Some(_) => SqliteConnectOptions::from_str(url).map_err(|error| unreachable(&error))?,
        None => SqliteConnectOptions::new().filename(url),
    };
    // A power cut may take the last keys, and no more than that: they are moved by the next run, and
    // the last of all is on the disk before this one ends. So no key waits for it.
    let options = match is_dry {
        true if !options.get_filename().exists() => return Ok(None),
        true => options.read_only(true),
        false => options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal),
    };
    let options = options.synchronous(SqliteSynchronous::Normal);
    let file = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
    let file = file.map_err(|error| unreachable(&error))?;
    let asked = "SELECT count(*) FROM sqlite_schema WHERE name = 'token_auth_keys'";
    let tables: i64 = sqlx::query_scalar(asked).fetch_one(&file).await?;
    if is_dry && tables == 0 {
        return Ok(None);
    }
    let store = SqliteStore::options().digest_algorithm(Sha512).from_pool(file.clone()).await?;
    let (auth, guard) = Authenticator::builder(store).build()?;
    let (keys, guard, file) = (Some(auth.keys()), Some(guard), Some(file));
    Ok(Some(Target { keys, guard, file, is_dry }))
}
