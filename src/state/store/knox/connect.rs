//! How connections are made: from a URL, and set for what this store asks of them.

use std::{str::FromStr as _, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, Database, SqlitePool, mysql::MySqlConnectOptions,
    pool::PoolOptions, postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};

use super::{
    KnoxOptions,
    following::Following,
    place::{Place, Trouble, of_postgres},
    session::Pool,
};
use crate::state::store::{error::StoreError, sql::primary::is_primary};

/// A connection that was idle for longer is asked whether it still is one. One that was in use a moment
/// ago is not, so that a lookup under load is one round trip.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// A database to open.
#[derive(Clone)]
pub(super) enum Target {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
    MySql(MySqlConnectOptions),
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        // Never quoted: it may hold a password.
        let unreadable = |_| {
            StoreError::unusable(
                "the Django database's URL can't be read; it looks like \
                 `mysql://user:password@host:3306/database`, with other signs than letters and digits \
                 percent-encoded",
            )
        };
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        Ok(match scheme {
            Some("postgres" | "postgresql") => {
                let connect = PgConnectOptions::from_str(url).map_err(unreadable)?;
                Self::Postgres(connect.options([("statement_timeout", "10000")]))
            }
            Some("mysql" | "mariadb") => {
                let connect = MySqlConnectOptions::from_str(url).map_err(unreadable)?;
                Self::MySql(connect.pipes_as_concat(false))
            }
            _ if url.starts_with("sqlite:") => {
                Self::Sqlite(absolute(SqliteConnectOptions::from_str(url).map_err(unreadable)?))
            }
            None if !url.is_empty() => {
                Self::Sqlite(absolute(SqliteConnectOptions::new().filename(url)))
            }
            _ => {
                return Err(StoreError::unusable(
                    "the Django database's location is no URL of `postgres://`, `mysql://`, \
                     `mariadb://` or `sqlite:`, and no file's path; name one of those",
                ));
            }
        })
    }

    pub(super) fn place(&self) -> Place {
        Place::named(match self {
            Self::Sqlite(connect) => format!("`{}`", connect.get_filename().display()),
            Self::Postgres(connect) => of_postgres(connect),
            Self::MySql(connect) => {
                let database = connect.get_database().unwrap_or("?");
                format!("`{database}` at {}:{}", connect.get_host(), connect.get_port())
            }
        })
    }
}

/// The process may change its folder before a later connection is made. One in memory has a name that is no
/// path.
fn absolute(connect: SqliteConnectOptions) -> SqliteConnectOptions {
    let path = connect.get_filename();
    let is_path = !path.starts_with(":memory:") && !path.to_string_lossy().starts_with("file:");
    match std::path::absolute(path) {
        Ok(whole) if is_path => connect.filename(whole),
        _ => connect,
    }
}

/// Connects once, by itself: a pool would keep to itself why a connection can't be made.
pub(super) async fn try_once(target: &Target, patience: Duration) -> Result<(), Trouble> {
    let connect = async {
        match target {
            Target::Sqlite(connect) => connect.connect().await?.close().await,
            Target::Postgres(connect) => connect.connect().await?.close().await,
            Target::MySql(connect) => connect.connect().await?.close().await,
        }
    };
    match tokio::time::timeout(patience, connect).await {
        Ok(done) => done.map_err(Trouble::Database),
        Err(_) => Err(Trouble::Schema(format!(
            "it did not answer within {patience:?}; check that the server runs, its host and port"
        ))),
    }
}

pub(super) fn pool(target: Target, options: &KnoxOptions) -> Pool {
    match target {
        Target::Sqlite(connect) => Pool::Sqlite(Arc::new(Following::of(connect, options))),
        Target::Postgres(connect) => {
            // A name may come to stand for another server: a failover must not end at a standby.
            let pool = lazily(options).after_connect(|connection, _| {
                Box::pin(async move { is_primary(connection).await })
            });
            Pool::Postgres(pool.connect_lazy_with(connect))
        }
        Target::MySql(connect) => {
            let pool = lazily(options).after_connect(|connection, _| {
                Box::pin(async move {
                    // What is no date, or too long, is refused and not made to fit; a change waits for
                    // rows no longer than a caller's patience; and MariaDB ends one whose client is gone.
                    let set = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), \
                               autocommit = 1, innodb_lock_wait_timeout = 5 /*M! , idle_transaction_timeout = 10 */";
                    sqlx::raw_sql(set).execute(connection).await.map(drop)
                })
            });
            Pool::MySql(pool.connect_lazy_with(connect))
        }
    }
}

/// Django's file is its own: its journal mode and the like are left as they are.
pub(super) fn file_pool(connect: SqliteConnectOptions, options: &KnoxOptions) -> SqlitePool {
    lazily(options).connect_lazy_with(connect)
}

fn lazily<DB: Database>(options: &KnoxOptions) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection: &mut DB::Connection, state| {
            Box::pin(async move {
                if state.idle_for > TRUSTED_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to fail without `absolute`.
    #[test]
    fn a_file_is_named_wherever_the_process_goes() {
        let here = std::env::current_dir().unwrap();
        let file = |url| match Target::parse(url) {
            Ok(Target::Sqlite(connect)) => connect.get_filename().to_owned(),
            _ => panic!("{url} is no file"),
        };
        for url in ["some/db.sqlite3", "sqlite:some/db.sqlite3", "sqlite:some/db.sqlite3?mode=ro"] {
            assert_eq!(file(url), here.join("some/db.sqlite3"));
        }
        assert_eq!(file("sqlite:/some/db"), std::path::Path::new("/some/db"));
        assert!(file("sqlite::memory:").is_relative());
        assert!(file(":memory:").is_relative());
    }
}
