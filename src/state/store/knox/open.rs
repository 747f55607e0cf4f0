//! How a store over Django's tables is opened: by a URL, or over a pool of the user's.

use std::sync::Arc;

use sqlx::{MySqlPool, PgPool, SqlitePool};

use super::{
    KnoxOptions, KnoxStore,
    connect::{self, Target},
    discover::discover,
    following::Following,
    place::{Place, Trouble},
    session::Pool,
    triggers::Triggers,
};
use crate::state::store::error::StoreError;

impl KnoxOptions {
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
            let triggers = Triggers::of(&mut session, &schema, self).await?;
            session.release();
            Ok((schema, triggers))
        };
        let (schema, triggers) = found.await.map_err(|trouble: Trouble| place.trouble(trouble))?;
        Ok(KnoxStore::over(pool.clone(), schema, triggers))
    }
}
