//! A connection of whichever database, that is borrowed from the pool and goes back only when nothing
//! is under way on it.
//!
//! One on which an answer is still awaited, because its future was dropped or the network fell silent,
//! is closed: the server then ends the transaction that was open on it.

use std::sync::Arc;

use sqlx::{
    AssertSqlSafe, Column as _, MySql, MySqlPool, PgConnection, PgPool, Postgres, SqlSafeStr as _,
    SqlStr, Sqlite, pool::PoolConnection, postgres::PgConnectOptions,
};

use super::{super::error::StoreError, dialect::Dialect, failure, following::Following};

/// The connections of one of the three databases.
#[derive(Clone, Debug)]
pub(super) enum Pool {
    Sqlite(Arc<Following>),
    Postgres(PgPool),
    MySql(MySqlPool),
}

/// A statement with the texts that are bound to it, in the order of its `?`s.
#[derive(Clone)]
pub(super) struct Statement {
    pub(super) sql: SqlStr,
    pub(super) values: Vec<Option<String>>,
}

/// A row: each column as text, or NULL.
pub(super) type Cells = Vec<Option<String>>;

pub(super) struct Session {
    link: Link,
    is_idle: bool,
}

enum Link {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    MySql(PoolConnection<MySql>),
}

/// The same with each of the three, by its own types.
macro_rules! on_each {
    ($kind:ident, $which:expr, $one:ident => $done:expr) => {
        match $which {
            $kind::Sqlite($one) => $done,
            $kind::Postgres($one) => $done,
            $kind::MySql($one) => $done,
        }
    };
}

impl Pool {
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
            Self::MySql(_) => Dialect::MySql,
        }
    }

    pub(super) async fn session(&self) -> Result<Session, sqlx::Error> {
        let link = match self {
            Self::Sqlite(file) => Link::Sqlite(file.pool().await?.acquire().await?),
            Self::Postgres(pool) => Link::Postgres(pool.acquire().await?),
            Self::MySql(pool) => Link::MySql(pool.acquire().await?),
        };
        Ok(Session { link, is_idle: true })
    }

    /// Where PostgreSQL's connections lead.
    pub(super) fn leads_to(&self) -> Option<PgConnectOptions> {
        let Self::Postgres(pool) = self else { return None };
        Some((*pool.connect_options()).clone())
    }

    /// How many connections there may be.
    pub(super) fn size(&self) -> u32 {
        match self {
            Self::Sqlite(file) => file.size(),
            Self::Postgres(pool) => pool.options().get_max_connections(),
            Self::MySql(pool) => pool.options().get_max_connections(),
        }
    }

    pub(super) async fn close(&self) {
        on_each!(Self, self, pool => pool.close().await);
    }

    /// One statement that reads, and so one moment of the database.
    pub(super) async fn rows(&self, statement: Statement) -> Result<Vec<Cells>, StoreError> {
        let mut session = self.session().await.map_err(failure::of_read)?;
        let rows = session.rows(statement).await;
        if rows.as_ref().err().is_none_or(failure::is_answer) {
            session.release();
        }
        rows.map_err(failure::of_read)
    }
}

impl Session {
    pub(super) fn of_file(connection: PoolConnection<Sqlite>) -> Self {
        Self { link: Link::Sqlite(connection), is_idle: true }
    }

    pub(super) async fn rows(&mut self, statement: Statement) -> Result<Vec<Cells>, sqlx::Error> {
        self.is_idle = false;
        let Statement { sql, values } = statement;
        on_each!(Link, &mut self.link, connection => {
            let query = values.into_iter().fold(sqlx::query(sql), |query, value| query.bind(value));
            let rows = query.fetch_all(&mut **connection).await?;
            let cells = |row| cells(row, |row: &_, at| sqlx::Row::try_get(row, at));
            rows.iter().map(cells).collect()
        })
    }

    /// Runs a statement that writes; says how many rows.
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, sqlx::Error> {
        self.is_idle = false;
        let Statement { sql, values } = statement;
        on_each!(Link, &mut self.link, connection => {
            let query = values.into_iter().fold(sqlx::query(sql), |query, value| query.bind(value));
            query.execute(&mut **connection).await.map(|done| done.rows_affected())
        })
    }

    /// Sends statements without values, as one message.
    pub(super) async fn send(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        self.is_idle = false;
        let sql = AssertSqlSafe(sql).into_sql_str();
        on_each!(Link, &mut self.link, connection => {
            sqlx::raw_sql(sql).execute(&mut **connection).await.map(drop)
        })
    }

    /// Lends the connection, where it is one of PostgreSQL's, for what only that has.
    pub(super) fn postgres(&mut self) -> Option<&mut PgConnection> {
        let Link::Postgres(connection) = &mut self.link else { return None };
        self.is_idle = false;
        Some(connection)
    }

    /// Commits. An error says nothing about whether that was done, unless it is definite.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.send("COMMIT").await.map_err(failure::of_commit)?;
        self.release();
        Ok(())
    }

    /// Undoes what was done, if need be by closing the connection: the locks go before the answer does.
    pub(super) async fn rollback(mut self) {
        if self.send("ROLLBACK").await.is_ok() {
            self.release();
        }
    }

    /// Gives it back: every answer has come, and no transaction is open.
    pub(super) fn release(mut self) {
        self.is_idle = true;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_idle {
            on_each!(Link, &mut self.link, connection => connection.close_on_drop());
        }
    }
}

fn cells<R: sqlx::Row>(
    row: &R,
    cell: impl Fn(&R, usize) -> Result<Option<String>, sqlx::Error>,
) -> Result<Cells, sqlx::Error> {
    row.columns().iter().map(|column| cell(row, column.ordinal())).collect()
}
