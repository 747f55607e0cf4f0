//! How a PostgreSQL store is set up: every default with its reason.

use std::{sync::Arc, time::Duration};

use sqlx::{ConnectOptions as _, Connection as _, PgPool};

use super::{
    PostgresStore,
    connect::millis,
    migrate::{self, Prepared, Trouble, Wanted},
    place::Place,
    schema,
    session::{Beginnings, Session},
    statements::Statements,
};
use crate::{
    state::store::{error::StoreError, sql::Prefix},
    value::digest::DigestAlgorithm,
};

/// Sets up a [`PostgresStore`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open`, `from_pool` or `ddl`"]
pub struct PostgresOptions {
    prefix: Prefix,
    schema: Option<Box<str>>,
    algorithm: Option<DigestAlgorithm>,
    pub(super) max_connections: u32,
    pub(super) acquire_timeout: Duration,
    pub(super) statement_timeout: Duration,
    lock_timeout: Duration,
    may_migrate: bool,
    pub(super) is_pooled: bool,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            prefix: Prefix::default(),
            schema: None,
            algorithm: None,
            max_connections: 8,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
            may_migrate: true,
            is_pooled: false,
        }
    }
}

impl PostgresOptions {
    /// Sets what every table's and index's name begins with; capitals are folded, as PostgreSQL folds
    /// them. The default is `token_auth_`, which says whose tables they are in a database of the user's.
    ///
    /// # Errors
    /// When the prefix is not 1 to 32 ASCII letters, digits and underscores, or begins with a digit.
    pub fn table_prefix(mut self, prefix: &str) -> Result<Self, StoreError> {
        self.prefix = Prefix::parse(prefix)?.folded();
        Ok(self)
    }

    /// Sets the schema of the tables; it is made if it is not there. The default is the one in which the
    /// connection would make them, the first of its `search_path` that exists: mostly `public`.
    ///
    /// # Errors
    /// When the name is empty or longer than the 63 bytes that PostgreSQL keeps of one.
    pub fn schema(mut self, schema: &str) -> Result<Self, StoreError> {
        if !(1..=63).contains(&schema.len()) || schema.contains('\0') {
            return Err(StoreError::unusable(
                "the schema can't be used: choose a name of 1 to 63 bytes",
            ));
        }
        self.schema = Some(schema.into());
        Ok(self)
    }

    /// Sets the digest algorithm: that of a new database, and what an older one is required to be.
    /// The default takes what the database was made with, and SHA-256 for a new one. Choose SHA-512
    /// for a database that is to receive knox's tokens.
    pub fn digest_algorithm(mut self, algorithm: DigestAlgorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// Sets how many connections [`open`](Self::open) makes at most, when they are needed; at least 1.
    /// The default is 8: a lookup holds one for a round trip, so that this carries thousands a second,
    /// and ten nodes with a feed fit into PostgreSQL's own default of 100.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Sets how long to wait for a free connection, or a new one, before the store counts as
    /// unavailable. The default is 5 s.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// Sets for how long the server may work on one statement, and for how long it keeps a transaction
    /// open whose client does not go on. The default is 10 s: far longer than any statement of ours
    /// takes, and the time after which the rows of a node that vanished are free again. At least 1 ms.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// Sets how long a change waits for rows that another transaction holds, before it is given up as
    /// not applied. The default is 5 s.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Sets whether the tables may be made and brought up to date on opening. They may by default;
    /// without it, missing or older tables are an error, for those who have another role run the
    /// [statements](Self::ddl).
    pub fn migrate(mut self, may_migrate: bool) -> Self {
        self.may_migrate = may_migrate;
        self
    }

    /// Says that a pooler in transaction mode stands between, such as PgBouncer, where each transaction
    /// may meet another server. Then no statement is prepared for later, and each read goes inside a
    /// transaction, which costs it three round trips more. Off by default.
    pub fn transaction_pooler(mut self, is_pooled: bool) -> Self {
        self.is_pooled = is_pooled;
        self
    }

    /// The statements that make a new database's tables, each ended by `;`: for those who keep all
    /// of their schema in migrations of their own. They record their own version, so that a store
    /// that is opened on them has nothing to do. Without a [schema](Self::schema), whoever runs them
    /// decides by their `search_path` where the tables go.
    #[must_use]
    pub fn ddl(&self) -> String {
        self.ddl_from(0)
    }

    /// The statements that bring tables of an older version up to date: of [`ddl`](Self::ddl), what came
    /// after that version. Which one a database has, the table of migrations tells, and the error of a
    /// store that is opened on it [without leave](Self::migrate) to do so itself.
    #[must_use]
    pub fn ddl_from(&self, version: i64) -> String {
        let algorithm = self.algorithm.unwrap_or_default();
        let of = |prefix: &Prefix| schema::ddl_from(version, prefix, algorithm);
        match &self.schema {
            None => of(&self.prefix),
            Some(name) if version < 1 => {
                schema::create_schema(name) + &of(&self.prefix.within(name))
            }
            Some(name) => of(&self.prefix.within(name)),
        }
    }

    /// Opens a database by its URL, such as `postgres://user:password@host/database`.
    ///
    /// # Errors
    /// When the database can't be reached or used; the message says what to do, and never the password.
    pub async fn open(self, url: &str) -> Result<PostgresStore, StoreError> {
        let connect = self.connect(url)?;
        let place = Place::of(&connect);
        // By itself, as a pool would keep to itself why a connection can't be made.
        let prepared = tokio::time::timeout(self.acquire_timeout, connect.connect()).await;
        let prepared = match prepared {
            Ok(Ok(mut connection)) => {
                let prepared = migrate::prepare(&mut connection, &self.wanted()).await;
                drop(connection.close().await);
                prepared
            }
            Ok(Err(error)) => Err(Trouble::Database(error)),
            Err(_) => Err(Trouble::Schema(format!(
                "it did not answer within {:?}; check that the server runs, its host and port",
                self.acquire_timeout
            ))),
        };
        let prepared = prepared.map_err(|trouble| place.trouble(trouble))?;
        let pool = self.pool(connect);
        Ok(self.store(pool, prepared, true))
    }

    /// Keeps the keys in a database of the user's own, beside their tables. No setting of the pool is
    /// touched: it decides which server is asked, and has to ask the primary.
    ///
    /// # Errors
    /// When the database can't be used; the message says what to do.
    pub async fn from_pool(self, pool: PgPool) -> Result<PostgresStore, StoreError> {
        let place = Place::elsewhere();
        let mut session = match pool.acquire().await {
            Ok(connection) => Session::from(connection),
            Err(error) => return Err(place.trouble(Trouble::Database(error))),
        };
        let prepared = migrate::prepare(session.connection(), &self.wanted()).await;
        let prepared = prepared.map_err(|trouble| place.trouble(trouble))?;
        session.release();
        Ok(self.store(pool, prepared, false))
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            prefix: &self.prefix,
            schema: self.schema.as_deref(),
            algorithm: self.algorithm,
            may_migrate: self.may_migrate,
        }
    }

    fn store(self, pool: PgPool, prepared: Prepared, is_ours: bool) -> PostgresStore {
        let Prepared { prefix, schema, algorithm } = prepared;
        PostgresStore {
            pool,
            is_ours,
            algorithm,
            is_pooled: self.is_pooled,
            statements: Arc::new(Statements::new(&prefix)),
            beginnings: Beginnings::new(millis(self.statement_timeout), millis(self.lock_timeout)),
            prefix,
            schema: schema.into(),
            may_migrate: self.may_migrate,
        }
    }
}
