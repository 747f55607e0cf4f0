//! How a store over Django's tables is set up: every default with its reason.

use std::{sync::Arc, time::Duration};

use chrono::FixedOffset;
use sqlx::{MySqlPool, PgPool, SqlitePool};

use super::{
    KnoxStore,
    connect::{self, Target},
    discover::discover,
    following::Following,
    place::{Place, Trouble},
    session::Pool,
};
use crate::state::store::error::StoreError;

/// Sets up a [`KnoxStore`].
///
/// The names are those that Django gives by default. A name may hold anything that the database takes;
/// it is quoted.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open`, or `from_…_pool`"]
pub struct KnoxOptions {
    pub(super) token_table: Box<str>,
    pub(super) owner_table: Box<str>,
    pub(super) owner_id: Box<str>,
    pub(super) username: Box<str>,
    pub(super) key_table: Box<str>,
    /// Whether it was named, so that it has to be there.
    pub(super) is_smarter: bool,
    pub(super) profile_table: Box<str>,
    pub(super) account_table: Box<str>,
    pub(super) link_table: Box<str>,
    pub(super) schema: Option<Box<str>>,
    pub(super) zone: FixedOffset,
    pub(super) is_plain: bool,
    pub(super) max_connections: u32,
    pub(super) acquire_timeout: Duration,
}

impl Default for KnoxOptions {
    fn default() -> Self {
        Self {
            token_table: "knox_authtoken".into(),
            owner_table: "auth_user".into(),
            owner_id: "id".into(),
            username: "username".into(),
            key_table: "drf_smarterauthtoken".into(),
            is_smarter: false,
            profile_table: "account_userprofile".into(),
            account_table: "account_account".into(),
            link_table: "llm_client_llmclientapikey".into(),
            schema: None,
            zone: FixedOffset::east_opt(0).expect("no offset is less than a day"),
            is_plain: false,
            max_connections: 8,
            acquire_timeout: Duration::from_secs(5),
        }
    }
}

impl KnoxOptions {
    /// Sets knox's own table, for a site with a `KNOX_TOKEN_MODEL`. The default is `knox_authtoken`.
    ///
    /// # Errors
    /// When no table can have that name.
    pub fn token_table(mut self, table: &str) -> Result<Self, StoreError> {
        self.token_table = name(table)?;
        Ok(self)
    }

    /// Sets the users' table, for a site with an `AUTH_USER_MODEL`; its primary key may be an integer,
    /// a UUID or a text. The default is `auth_user`.
    ///
    /// # Errors
    /// When no table can have that name.
    pub fn owner_table(mut self, table: &str) -> Result<Self, StoreError> {
        self.owner_table = name(table)?;
        Ok(self)
    }

    /// Sets the column of the users' primary key. The default is `id`.
    ///
    /// # Errors
    /// When no column can have that name.
    pub fn owner_id_column(mut self, column: &str) -> Result<Self, StoreError> {
        self.owner_id = name(column)?;
        Ok(self)
    }

    /// Sets the column by which people know a user, Django's `USERNAME_FIELD`. The default is
    /// `username`.
    ///
    /// # Errors
    /// When no column can have that name.
    pub fn username_column(mut self, column: &str) -> Result<Self, StoreError> {
        self.username = name(column)?;
        Ok(self)
    }

    /// Sets Smarter's table of keys, which stand beside knox's rows. The default is
    /// `drf_smarterauthtoken`; where there is no such table, the database is plain knox's. One that is
    /// named has to be there.
    ///
    /// # Errors
    /// When no table can have that name.
    pub fn key_table(mut self, table: &str) -> Result<Self, StoreError> {
        self.key_table = name(table)?;
        self.is_smarter = true;
        Ok(self)
    }

    /// Sets Smarter's table of users in accounts. The default is `account_userprofile`.
    ///
    /// # Errors
    /// When no table can have that name.
    pub fn profile_table(mut self, table: &str) -> Result<Self, StoreError> {
        self.profile_table = name(table)?;
        Ok(self)
    }

    /// Sets Smarter's table of accounts. The default is `account_account`.
    ///
    /// # Errors
    /// When no table can have that name.
    pub fn account_table(mut self, table: &str) -> Result<Self, StoreError> {
        self.account_table = name(table)?;
        Ok(self)
    }

    /// Sets the table in which Smarter's clients name their keys. The default is
    /// `llm_client_llmclientapikey`; where there is none, no key is named.
    ///
    /// # Errors
    /// When no table can have that name.
    pub fn link_table(mut self, table: &str) -> Result<Self, StoreError> {
        self.link_table = name(table)?;
        Ok(self)
    }

    /// Sets PostgreSQL's schema of the tables. By default the connection's `search_path` decides, as
    /// for Django.
    ///
    /// # Errors
    /// When no schema can have that name.
    pub fn schema(mut self, schema: &str) -> Result<Self, StoreError> {
        self.schema = Some(name(schema)?);
        Ok(self)
    }

    /// Sets the zone of the times in the tables on SQLite and MySQL. UTC is the default, as it is
    /// Django's; a site with `USE_TZ = False`, or a `TIME_ZONE` of its database's own, keeps local
    /// times there, and no query can tell. A zone with summer time can't be served. PostgreSQL's
    /// columns know their zone.
    pub fn time_zone(mut self, zone: FixedOffset) -> Self {
        self.zone = zone;
        self
    }

    /// Says that the tables are plain knox's, so that Smarter's are not looked for: for a role that may
    /// not see whether there are any. On Smarter's database it would admit keys that are inactive there.
    pub fn insecure_assume_plain(mut self) -> Self {
        self.is_plain = true;
        self
    }

    /// Sets how many connections [`open`](Self::open) makes at most, when they are needed; at least 1.
    /// The default is 8: a lookup holds one for a round trip.
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

    /// Opens a database by its URL, as of `postgres://`, `mysql://`, `mariadb://` or `sqlite:`, or a
    /// SQLite file by its path. Nothing is made or changed there.
    ///
    /// # Errors
    /// When the database can't be reached, or its tables are not those of knox 5; the message says what
    /// to do, and never the password.
    pub async fn open(self, url: &str) -> Result<KnoxStore, StoreError> {
        let target = Target::parse(url)?;
        let place = target.place();
        connect::try_once(&target, self.acquire_timeout).await.map_err(|e| place.trouble(e))?;
        let pool = connect::pool(target, &self);
        match self.on(&pool, &place).await {
            Ok(store) => Ok(KnoxStore { is_ours: true, ..store }),
            Err(error) => {
                // Nothing of a failed attempt stays open behind the caller's back.
                pool.close().await;
                Err(error)
            }
        }
    }

    /// Takes the tables of a SQLite database that the user opened. No setting of the pool is touched.
    ///
    /// # Errors
    /// When the tables are not those of knox 5; the message says what to do.
    pub async fn from_sqlite_pool(self, pool: SqlitePool) -> Result<KnoxStore, StoreError> {
        let pool = Pool::Sqlite(Arc::new(Following::of_user_s(pool)));
        self.on(&pool, &Place::elsewhere()).await
    }

    /// Takes the tables of a PostgreSQL database that the user opened. No setting of the pool is
    /// touched; it has to ask the primary.
    ///
    /// # Errors
    /// When the tables are not those of knox 5; the message says what to do.
    pub async fn from_postgres_pool(self, pool: PgPool) -> Result<KnoxStore, StoreError> {
        self.on(&Pool::Postgres(pool), &Place::elsewhere()).await
    }

    /// Takes the tables of a MySQL or MariaDB database that the user opened. No setting of the pool is
    /// touched: its connections have to be in a strict SQL mode, and have to ask the primary.
    ///
    /// # Errors
    /// When the tables are not those of knox 5; the message says what to do.
    pub async fn from_mysql_pool(self, pool: MySqlPool) -> Result<KnoxStore, StoreError> {
        self.on(&Pool::MySql(pool), &Place::elsewhere()).await
    }

    async fn on(&self, pool: &Pool, place: &Place) -> Result<KnoxStore, StoreError> {
        let found = async {
            let mut session = pool.session().await.map_err(Trouble::Database)?;
            let schema = discover(&mut session, pool.dialect(), self).await?;
            session.release();
            Ok(schema)
        };
        let schema = found.await.map_err(|trouble: Trouble| place.trouble(trouble))?;
        Ok(KnoxStore::over(pool.clone(), schema))
    }
}

/// Any name that a database takes: PostgreSQL's are the shortest.
fn name(name: &str) -> Result<Box<str>, StoreError> {
    if !(1..=63).contains(&name.len()) || name.contains('\0') {
        return Err(StoreError::unusable(
            "the name of a table or column can't be used: choose one of 1 to 63 bytes",
        ));
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_a_database_takes() {
        assert!(KnoxOptions::default().token_table("weird \" name").is_ok());
        for bad in ["", "a\0b", &"x".repeat(64)] {
            let error = KnoxOptions::default().owner_table(bad).unwrap_err();
            assert!(error.to_string().contains("1 to 63"), "{error}");
        }
    }
}
