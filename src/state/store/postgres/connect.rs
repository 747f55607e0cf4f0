//! How connections are made: from a URL, and to a primary.

use std::{str::FromStr as _, time::Duration};

use sqlx::{
    Connection as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::PostgresOptions;
use crate::state::store::{error::StoreError, sql::primary::is_primary};

/// A connection that was idle for longer is asked whether it still is one. One that was in use a moment
/// ago is not, so that a lookup under load is one round trip.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

impl PostgresOptions {
    pub(super) fn connect(&self, url: &str) -> Result<PgConnectOptions, StoreError> {
        // Not quoted: it may hold a password.
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(StoreError::unusable(
                "the key database's location is no PostgreSQL URL; name one such as \
                 `postgres://user:password@host/database`",
            ));
        }
        let connect = PgConnectOptions::from_str(url).map_err(|_| {
            StoreError::unusable(
                "the key database's URL can't be read; it looks like \
                 `postgres://user:password@host:5432/database`, with other signs than letters and \
                 digits percent-encoded",
            )
        })?;
        // No float is ever read, and a pooler does not know this parameter.
        let connect = connect.extra_float_digits(None);
        Ok(if self.is_pooled {
            connect.statement_cache_capacity(0)
        } else {
            connect.options([("statement_timeout", millis(self.statement_timeout))])
        })
    }

    pub(super) fn pool(&self, connect: PgConnectOptions) -> PgPool {
        PgPoolOptions::new()
            .max_connections(self.max_connections)
            // Beyond the calendar sqlx would panic.
            .acquire_timeout(self.acquire_timeout.min(A_YEAR))
            .test_before_acquire(false)
            .before_acquire(|connection, state| {
                Box::pin(async move {
                    if state.idle_for > TRUSTED_FOR {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            // A name may come to stand for another server: a failover must not end at a standby.
            .after_connect(|connection, _| Box::pin(async move { is_primary(connection).await }))
            .connect_lazy_with(connect)
    }
}

/// As PostgreSQL takes a timeout: 0 would mean none at all.
pub(super) fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).max(1)
}
