//! The store of a fleet: keys in a PostgreSQL database, alone or beside a user's own tables.

mod connect;
mod dialect;
mod ending;
mod failure;
mod family;
mod feed;
mod migrate;
mod moment;
mod options;
mod place;
mod read;
mod row;
mod schema;
mod session;
mod statements;
mod steps;
mod telling;
mod write;

use std::{fmt, sync::Arc};

use sqlx::{PgPool, Postgres, SqlStr, postgres::PgArguments, query::Query};

pub use feed::PostgresFeed;
pub use options::PostgresOptions;

use self::{session::Beginnings, statements::Statements};
use super::{error::StoreError, sql::Prefix};
use crate::value::digest::DigestAlgorithm;

/// Keys in a PostgreSQL database, version 12 or later. Clones share its connections.
///
/// # Rules
/// 1. [`open`](Self::open) makes the tables if they are not there, and brings older ones up to date, in
///    one transaction. Any number of nodes may do so at once. Without the right to do so, or on
///    [demand](PostgresOptions::migrate), they are refused instead; newer ones always are.
/// 2. It asks the primary. A standby is refused, at the start and by each connection made later, as it
///    learns of a revocation late. With a [pool of the user's](Self::from_pool) that is looked at once,
///    at the start.
/// 3. A change holds the rows that it was judged on until it is committed, against everybody who writes
///    to the tables. Of two that need each other's rows one is begun anew, a few times at most. One that
///    waits for rows longer than the [lock timeout](PostgresOptions::lock_timeout) is not applied.
/// 4. A connection that is lost while a commit is under way leaves the outcome unknown. Another change of
///    the same rows settles it, as it comes behind what the server may still be doing; until then, and
///    for no longer than the [statement timeout](PostgresOptions::statement_timeout), a read may show
///    what stood before.
/// 5. All tables and indices begin with one [prefix](PostgresOptions::table_prefix) in one
///    [schema](PostgresOptions::schema), and their versions are kept in a table of their own, so that a
///    user's own migrations may run before and after ours in the same database.
/// 6. A role without the right to write authenticates; changes and last uses then answer
///    [`is_unsupported`](StoreError::is_unsupported).
/// 7. A row that can't be read is an error, never an absent key or a missing expiry.
/// 8. Nothing outlives a transaction on its connection but prepared statements, and with
///    [`transaction_pooler`](PostgresOptions::transaction_pooler) not those either.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_token_auth::{Authenticator, NewKey, Owner, PostgresStore};
///
/// let store = PostgresStore::open("postgres://auth:secret@db.example.com/auth").await?;
/// let (auth, guard) = Authenticator::builder(store).build()?;
/// let (_, token) = auth.keys().create(Owner::staff("ada"), NewKey::named("first")).await?;
/// assert!(auth.authenticate(token.expose()).await.is_ok());
/// assert!(auth.authenticate("no such token").await.is_err());
/// # drop(guard);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    pool: PgPool,
    /// Whether the pool was made here, so that it is ours to close.
    is_ours: bool,
    algorithm: DigestAlgorithm,
    prefix: Prefix,
    schema: Arc<str>,
    /// Whether tables and triggers may be made.
    may_migrate: bool,
    /// Whether a pooler in transaction mode stands between.
    is_pooled: bool,
    statements: Arc<Statements>,
    beginnings: Beginnings,
}

/// A statement with the values that are bound to it.
type Statement<'q> = Query<'q, Postgres, PgArguments>;

impl PostgresStore {
    /// Opens a database with the default options, by its URL, such as
    /// `postgres://user:password@host/database`.
    ///
    /// # Errors
    /// When the database can't be reached or used; the message says what to do, and never the password.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::options().open(url).await
    }

    /// Keeps the keys in a database of the user's own, with the default options.
    ///
    /// # Errors
    /// When the database can't be used; the message says what to do.
    pub async fn from_pool(pool: PgPool) -> Result<Self, StoreError> {
        Self::options().from_pool(pool).await
    }

    /// Sets up a store other than by default.
    pub fn options() -> PostgresOptions {
        PostgresOptions::default()
    }

    /// Waits until every connection that [`open`](Self::open) made is closed. A pool of the user's stays
    /// open.
    pub async fn close(&self) {
        if self.is_ours {
            self.pool.close().await;
        }
    }

    fn query<'q>(&self, sql: &SqlStr) -> Statement<'q> {
        sqlx::query(sql.clone()).persistent(!self.is_pooled)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("algorithm", &self.algorithm)
            .field("prefix", &format_args!("{}", self.prefix))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::*;

    /// The statements as they are sent, planned for any digests, over many keys of one
    /// owner: statistics that tempt the planner to begin with the owners.
    ///
    /// Seen to fail without the index: each plan then reads all keys.
    #[tokio::test]
    async fn lookups_use_the_primary_key() {
        let Ok(url) = std::env::var("TEST_DATABASE_URL") else {
            println!("SKIPPED lookups_use_the_primary_key: TEST_DATABASE_URL names no server");
            return;
        };
        let schema = format!("t_{}", crate::value::key::KeyId::random().as_uuid().simple());
        let options = PostgresStore::options().schema(&schema).unwrap();
        let store = options.open(&url).await.unwrap();
        let mut connection = store.pool.acquire().await.unwrap();
        let sql = "INSERT INTO {p}owners VALUES ('ada', '', true, false, false); \
                   INSERT INTO {p}keys (digest, key_id, token_key, owner_id, name, created_at, \
                   updated_at, is_active) SELECT sha256(n::text::bytea), gen_random_uuid(), '', \
                   'ada', '', now(), now(), true FROM generate_series(1, 20000) AS n; \
                   ANALYZE {p}keys; ANALYZE {p}owners; ANALYZE {p}memberships; \
                   SET plan_cache_mode = force_generic_plan";
        sqlx::raw_sql(AssertSqlSafe(store.prefix.fill(sql)))
            .execute(&mut *connection)
            .await
            .unwrap();
        let statements = &store.statements;
        for (name, sql, types, values) in [
            ("find", &statements.find, "bytea", "'\\x00'"),
            ("find_many", &statements.find_many, "bytea[]", "'{}'"),
            ("record_uses", &statements.record_uses, "", "'{}', '{}', '{}', '{}'"),
        ] {
            let types = if types.is_empty() { String::new() } else { format!("({types})") };
            let prepare = format!("PREPARE {name} {types} AS {}", sql.as_str());
            sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
            let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE {name} ({values})"));
            let plan: Vec<String> = {
                use sqlx::{Executor as _, Row as _};
                let rows = connection.fetch_all(sqlx::raw_sql(explain)).await.unwrap();
                rows.iter().map(|row| row.get_unchecked(0)).collect()
            };
            let searched = plan.iter().any(|step| step.contains("token_auth_keys_pkey"));
            let read_whole = plan.iter().any(|step| step.contains("Seq Scan on token_auth_keys"));
            assert!(searched && !read_whole, "{name}: {plan:#?}");
        }
        let drop = AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"));
        sqlx::raw_sql(drop).execute(&mut *connection).await.unwrap();
    }
}
