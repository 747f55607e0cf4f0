//! A connection that is borrowed from the pool, and goes back only when nothing is under way on it.
//!
//! One on which an answer is still awaited, because its future was dropped or the network fell silent,
//! is closed: the server then ends the transaction that was open on it, and a server that answers no
//! more can't keep the whole pool.

use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, SqlSafeStr as _, SqlStr,
    pool::PoolConnection,
};

use super::{super::error::StoreError, failure};

pub(super) struct Session {
    connection: PoolConnection<Postgres>,
    is_idle: bool,
    /// Whether a transaction may be open that nobody ends.
    is_spoilt: bool,
}

impl Session {
    pub(super) async fn of(pool: &PgPool) -> Result<Self, StoreError> {
        pool.acquire().await.map(Self::from).map_err(failure::of)
    }

    /// Lends the connection for a statement.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.is_idle = false;
        &mut self.connection
    }

    /// Begins a transaction with statements that go as one message.
    pub(super) async fn begin(&mut self, sql: SqlStr) -> Result<(), sqlx::Error> {
        let begun = sqlx::raw_sql(sql).execute(self.connection()).await.map(drop);
        self.is_spoilt = begun.is_err();
        begun
    }

    /// Commits. An error says nothing about whether that was done, unless it is definite.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::raw_sql("COMMIT").execute(self.connection()).await.map_err(failure::of_commit)?;
        self.release();
        Ok(())
    }

    /// Undoes what was done, if need be by closing the connection: the locks go before the answer does.
    pub(super) async fn rollback(mut self, because: &StoreError) {
        let is_undone = sqlx::raw_sql("ROLLBACK").execute(self.connection()).await.is_ok();
        if is_undone && (!failure::is_outdated(because) || self.renew().await.is_ok()) {
            self.release();
        }
    }

    /// Throws its prepared statements away, so that the next ones are made anew.
    pub(super) async fn renew(&mut self) -> Result<(), StoreError> {
        self.connection().clear_cached_statements().await.map_err(failure::of)
    }

    /// Gives it back after a read, unless it broke on it.
    pub(super) fn release_after<T>(self, read: &Result<T, StoreError>) {
        if read.as_ref().err().is_none_or(failure::is_answer) {
            self.release();
        }
    }

    /// Gives it back: every answer has come, and no transaction is open.
    pub(super) fn release(mut self) {
        self.is_idle = !self.is_spoilt;
    }
}

impl From<PoolConnection<Postgres>> for Session {
    fn from(connection: PoolConnection<Postgres>) -> Self {
        Self { connection, is_idle: true, is_spoilt: false }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_idle {
            self.connection.close_on_drop();
        }
    }
}

/// The statements with which transactions begin. What they set holds inside the transaction alone, so
/// that it reaches the right server behind a pooler, and leaves no trace on a connection of the user's.
#[derive(Clone)]
pub(super) struct Beginnings {
    pub(super) change: SqlStr,
    pub(super) read: SqlStr,
}

/// It may wait for as long as another node's migration takes, unless that node has vanished.
pub(super) const BEGIN_MIGRATION: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
     SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
     SET LOCAL idle_in_transaction_session_timeout = 60000";

impl Beginnings {
    pub(super) fn new(statement: i32, lock: i32) -> Self {
        let sql = |text: String| AssertSqlSafe(text).into_sql_str();
        // What waits for this client is bounded by one more statement's time, then the server ends it.
        let change = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {statement}; \
             SET LOCAL lock_timeout = {lock}; \
             SET LOCAL idle_in_transaction_session_timeout = {statement}; \
             SELECT set_config('synchronous_commit', 'on', true) \
             WHERE current_setting('synchronous_commit') = 'off'"
        );
        // Behind a pooler the server may be another one at each transaction, and a standby takes no
        // transaction that may write.
        let read = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
             SET LOCAL statement_timeout = {statement}; \
             SET LOCAL idle_in_transaction_session_timeout = {statement}"
        );
        Self { change: sql(change), read: sql(read) }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgPoolOptions;

    use super::*;

    /// A beginning of many statements may fail behind its BEGIN, with an answer: then a transaction is
    /// open that nobody ends, and whoever got the connection next would be told so.
    ///
    /// Seen to fail without `is_spoilt`: "current transaction is aborted".
    #[tokio::test]
    async fn a_connection_with_a_transaction_that_nobody_ends_does_not_go_back() {
        let Ok(url) = std::env::var("TEST_DATABASE_URL") else {
            println!("SKIPPED: TEST_DATABASE_URL names no PostgreSQL server");
            return;
        };
        let options = PgPoolOptions::new().max_connections(1).test_before_acquire(false);
        let pool = options.connect(&url).await.unwrap();
        let process = async |session: &mut Session| {
            let asked = sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()");
            asked.fetch_one(session.connection()).await.map_err(failure::of)
        };
        let mut session = Session::of(&pool).await.unwrap();
        let first = process(&mut session).await.unwrap();
        let broken = AssertSqlSafe("BEGIN; SELECT 1 / 0").into_sql_str();
        let begun = session.begin(broken).await.map_err(failure::of);
        assert!(begun.as_ref().is_err_and(failure::is_answer));
        session.release_after(&begun);
        let mut session = Session::of(&pool).await.unwrap();
        let second = process(&mut session).await;
        assert_ne!(second.unwrap(), first);
        // One that began goes back.
        let sound = AssertSqlSafe("BEGIN; SELECT 1").into_sql_str();
        session.begin(sound).await.unwrap();
        let kept = process(&mut session).await.unwrap();
        session.commit().await.unwrap();
        let mut session = Session::of(&pool).await.unwrap();
        assert_eq!(process(&mut session).await.unwrap(), kept);
    }
}
