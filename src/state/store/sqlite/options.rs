//! How a SQLite store is set up: every default with its reason.

use std::{path::Path, sync::Arc, time::Duration};

use sqlx::{SqlitePool, sqlite::SqliteSynchronous};

use super::{
    SqliteStore, failure,
    location::{Location, Place},
    migrate::{self, Journal},
    pools::{Maker, Pair, Pools},
    schema,
    statements::Statements,
};
use crate::{
    state::store::{error::StoreError, sql::Prefix},
    value::digest::DigestAlgorithm,
};

/// Sets up a [`SqliteStore`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open`, `from_pool` or `ddl`"]
pub struct SqliteOptions {
    pub(super) prefix: Prefix,
    algorithm: Option<DigestAlgorithm>,
    pub(super) busy_timeout: Duration,
    pub(super) read_connections: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            prefix: Prefix::default(),
            algorithm: None,
            busy_timeout: Duration::from_secs(5),
            read_connections: 4,
        }
    }
}

impl SqliteOptions {
    /// Sets what every table's and index's name begins with. The default is `token_auth_`, which
    /// says whose tables they are in a database of the user's.
    ///
    /// # Errors
    /// When the prefix is not 1 to 32 ASCII letters, digits and underscores, begins with a digit,
    /// or with `sqlite_`, which SQLite keeps for itself.
    pub fn table_prefix(mut self, prefix: &str) -> Result<Self, StoreError> {
        self.prefix = Prefix::parse(prefix)?;
        Ok(self)
    }

    /// Sets the digest algorithm: that of a new database, and what an older one is required to be.
    /// The default takes what the database was made with, and SHA-256 for a new one. Choose SHA-512
    /// for a database that is to receive knox's tokens.
    pub fn digest_algorithm(mut self, algorithm: DigestAlgorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// Sets how long a statement waits for another connection's lock. The default is 5 s: far
    /// longer than any change of ours takes, and shorter than a caller's patience.
    /// [`from_pool`](Self::from_pool) leaves the pool's own timeout as it is.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        // sqlx hands SQLite an `int` of milliseconds.
        self.busy_timeout = timeout.min(Duration::from_millis(i32::MAX as u64));
        self
    }

    /// Sets how many connections [`open`](Self::open) reads with, beside the one that writes; at
    /// least 1. The default is 4: each is a thread, and a read takes some microseconds of it.
    pub fn read_connections(mut self, connections: u32) -> Self {
        self.read_connections = connections.max(1);
        self
    }

    /// The statements that make a new database's tables, each ended by `;`: for those who keep all
    /// of their schema in migrations of their own. They record their own version, so that a store
    /// that is opened on them has nothing to do.
    #[must_use]
    pub fn ddl(&self) -> String {
        schema::ddl(&self.prefix, self.algorithm.unwrap_or_default())
    }

    /// Opens a database: a path such as `token-auth.db`, or a `sqlite:` URL, which may say
    /// `mode=ro` or `immutable=1`. The file is made if it is not there, unless the URL says `mode=rw`.
    ///
    /// # Errors
    /// When the database can't be opened or used; the message says what to do.
    pub async fn open(self, location: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        let Location { connect, access, place } = Location::parse(location.as_ref())?;
        let connect = connect
            .busy_timeout(self.busy_timeout)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full);
        let maker = Maker { options: self.clone(), connect, access };
        let pair = maker.make(place.may_create);
        let first = pair.write.as_ref().unwrap_or(&pair.read);
        let (prefix, patience) = (&self.prefix, self.busy_timeout);
        let opened =
            migrate::prepare(first, prefix, self.algorithm, maker.journal(), patience).await;
        match opened {
            Ok(algorithm) => Ok(self.store(Pools::new(pair, Some(maker), place.path), algorithm)),
            Err(error) => {
                // Nothing of a failed attempt stays open behind the caller's back.
                first.close().await;
                Err(error.within(&place))
            }
        }
    }

    /// Keeps the keys in a database of the user's own, beside their tables. Its file may be in any
    /// journal mode; WAL keeps reads from waiting for changes. No setting of the pool is touched.
    ///
    /// # Errors
    /// When the database can't be used; the message says what to do.
    pub async fn from_pool(self, pool: SqlitePool) -> Result<SqliteStore, StoreError> {
        let opened = migrate::prepare(
            &pool,
            &self.prefix,
            self.algorithm,
            Journal::AsItIs,
            self.busy_timeout,
        )
        .await;
        let algorithm = opened.map_err(|error| error.within(&Place::elsewhere()))?;
        let path = migrate::file_of(&pool).await.map_err(failure::of)?;
        let pair = Pair { read: pool.clone(), write: Some(pool) };
        Ok(self.store(Pools::new(pair, None, path), algorithm))
    }

    fn store(self, pools: Pools, algorithm: DigestAlgorithm) -> SqliteStore {
        let statements = Arc::new(Statements::new(&self.prefix));
        SqliteStore { pools: Arc::new(pools), algorithm, statements, prefix: self.prefix }
    }
}

impl migrate::Trouble {
    pub(super) fn within(self, place: &Place) -> StoreError {
        match self {
            Self::Database(error) => failure::on_opening(place, error),
            Self::Schema(advice) => StoreError::unusable(format!("can't use {place}: {advice}")),
        }
    }
}
