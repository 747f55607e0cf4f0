//! Whether triggers are wanted, how they are made and taken away again, and what stands of them.

use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _, postgres::PgConnectOptions};

use super::super::{
    KnoxOptions, KnoxStore, failure,
    place::{Place, of_postgres},
};
use crate::state::store::{
    error::StoreError,
    sql::{
        hearing::Told,
        telling::{BEGIN_MENDING, Found, Telling, literal, put_right},
    },
};

/// Whether triggers are to tell of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Wanted {
    #[default]
    No,
    /// They are to be there, and are not made here.
    There,
    Made,
}

impl KnoxOptions {
    /// Has Django's changes told by triggers on its tables, on PostgreSQL: those that
    /// [`KnoxStore::trigger_ddl`] prints, and that somebody else has made. While they are missing, or are
    /// not those of this release, the feed is not healthy. Off by default: the feed then looks again at
    /// the keys in use, and nothing of ours stands in Django's schema.
    ///
    /// With them a change holds as soon as it was committed, and a long fresh TTL can be set. On another
    /// database the store is then refused.
    pub fn expect_triggers(mut self) -> Self {
        self.triggers = Wanted::There;
        self
    }

    /// The same, and has the triggers made where they are missing, or put right, whenever a
    /// [feed](KnoxStore::feed) begins to listen. That takes the owner of the tables, as whom Django itself
    /// connects as a rule; the feed of another role stays unhealthy and says so. Off by default.
    pub fn install_triggers(mut self) -> Self {
        self.triggers = Wanted::Made;
        self
    }
}

impl KnoxStore {
    /// The statements that make the [triggers](KnoxOptions::expect_triggers) for these very tables, each
    /// ended by `;`: for those who have the tables' owner run them, in one transaction. They put right
    /// whatever stands of them. `None` on other databases than PostgreSQL.
    #[must_use]
    pub fn trigger_ddl(&self) -> Option<String> {
        self.triggers.as_deref().map(|triggers| triggers.telling().ddl_anew())
    }

    /// The statement that takes the triggers away again, with the function that they call; also from a
    /// table that was renamed since. It gives up on whoever uses a table for more than half a second, and
    /// is then to be run again. `None` on other databases than PostgreSQL.
    #[must_use]
    pub fn trigger_removal(&self) -> Option<String> {
        let telling = self.triggers.as_deref()?.telling();
        Some(telling.functions.iter().map(|function| removal(&function.quoted)).collect())
    }

    /// Takes the triggers away again. Stores that [install](KnoxOptions::install_triggers) them are to be
    /// gone by then: their feeds make them anew. It tries ten times, for half a second each, to find
    /// nobody at these tables.
    ///
    /// # Errors
    /// When the role may not, which [`is_unsupported`](StoreError::is_unsupported), as it is on other
    /// databases than PostgreSQL; or when the database can't be reached, or somebody goes on writing.
    pub async fn remove_triggers(&self) -> Result<(), StoreError> {
        let removal = self.trigger_removal().ok_or_else(|| {
            StoreError::unsupported("there are triggers on PostgreSQL alone, and none are here")
        })?;
        // As one message, so that no answer is waited for with the tables locked.
        let sql = AssertSqlSafe(format!("{BEGIN_MENDING}; {removal} COMMIT")).into_sql_str();
        let mut tries = TRIES;
        loop {
            let mut session = self.pool.session().await.map_err(failure::of)?;
            let connection = session.postgres().ok_or_else(not_postgres)?;
            let Err(error) = connection.execute(sqlx::raw_sql(sql.clone())).await else {
                session.release();
                return Ok(());
            };
            session.rollback().await;
            tries -= 1;
            let is_locked = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
            if tries == 0 || is_locked.as_deref() != Some(LOCKED) {
                return Err(failure::of(error));
            }
        }
    }

    /// Whether the feed hears what triggers tell.
    pub(in super::super) fn wants_triggers(&self) -> bool {
        self.triggers.as_deref().is_some_and(|triggers| triggers.wanted != Wanted::No)
    }
}

impl Told for KnoxStore {
    fn telling(&self) -> Telling {
        self.triggers.as_deref().expect("a feed that listens is one of PostgreSQL's").telling()
    }

    fn leads_to(&self) -> PgConnectOptions {
        self.pool.leads_to().expect("a feed that listens is one of PostgreSQL's")
    }

    async fn look(&self, sql: String) -> Result<Found, StoreError> {
        let mut session = self.pool.session().await.map_err(failure::of_read)?;
        let found = Found::read(session.postgres().ok_or_else(not_postgres)?, sql).await;
        if found.as_ref().err().is_none_or(failure::is_answer) {
            session.release();
        }
        found.map_err(failure::of_read)
    }

    async fn mend(&self) -> Result<(), StoreError> {
        let missing = |why: &dyn std::fmt::Display| {
            StoreError::unusable(format!(
                "the triggers that tell of Django's changes are missing, or not those of this release, \
                 and {why}; have the owner of the tables run what `KnoxStore::trigger_ddl` says"
            ))
        };
        let triggers = self.triggers.as_deref().ok_or_else(not_postgres)?;
        if triggers.wanted != Wanted::Made {
            return Err(missing(&"this store was not told to make them"));
        }
        let telling = triggers.telling();
        // Many nodes find them missing at once; the others then find nothing to do.
        let begin = format!(
            "{BEGIN_MENDING}; SELECT pg_advisory_xact_lock({})",
            lock_of(&telling.functions[0].quoted)
        );
        let mut session = self.pool.session().await.map_err(failure::of)?;
        let connection = session.postgres().ok_or_else(not_postgres)?;
        let mended = async {
            connection.execute(sqlx::raw_sql(AssertSqlSafe(begin))).await?;
            put_right(connection, &telling).await
        };
        // After an error it is dropped with its connection, whose transaction is still open.
        match mended.await.map_err(failure::of) {
            Ok(()) => {
                session.release();
                Ok(())
            }
            Err(error) if error.is_unsupported() => Err(missing(&error)),
            Err(error) => Err(error),
        }
    }

    fn failure(error: sqlx::Error) -> StoreError {
        failure::of(error)
    }

    fn trouble_at(at: &PgConnectOptions, error: sqlx::Error) -> StoreError {
        Place::named(of_postgres(at)).trouble(error.into())
    }
}

fn not_postgres() -> StoreError {
    StoreError::unsupported("triggers tell of changes on PostgreSQL alone")
}

/// How often a removal is tried.
const TRIES: u32 = 10;
/// `lock_not_available`: somebody uses a table.
const LOCKED: &str = "55P03";

/// Takes a function away, and the triggers that call it. Whoever writes may hold one table and wait for
/// another; so all are locked before anything is done, within half of the second in all after which
/// PostgreSQL looks whom to end.
fn removal(function: &str) -> String {
    let name = literal(&format!("{function}()"));
    format!(
        "DO $remove$\nDECLARE\n    one regclass;\n    \
         until timestamptz := clock_timestamp() + interval '500 ms';\nBEGIN\n    \
         FOR one IN SELECT DISTINCT tgrelid::regclass FROM pg_catalog.pg_trigger\n    \
         WHERE tgfoid = pg_catalog.to_regprocedure({name}) ORDER BY 1 LOOP\n        \
         PERFORM pg_catalog.set_config('lock_timeout', greatest(1, \
         1000 * extract(epoch FROM until - clock_timestamp()))::int::text, true);\n        \
         EXECUTE pg_catalog.format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', one);\n    \
         END LOOP;\n    \
         DROP FUNCTION IF EXISTS {function}() CASCADE;\nEND $remove$;\n"
    )
}

/// The number of a lock that everybody takes who makes them. It is gone with the transaction.
fn lock_of(function: &str) -> i64 {
    let hash = Sha256::new().chain_update("tower-token-auth triggers ").chain_update(function);
    let hash = hash.finalize();
    i64::from_be_bytes(hash[..8].try_into().expect("a hash is longer than eight bytes"))
}
