//! Whether a PostgreSQL server is a primary: a standby learns of a revocation late.

use std::{error::Error, fmt};

use sqlx::{Executor as _, PgConnection, Row as _};

/// Whether a new connection leads to a primary; an error says that it does not.
pub(in crate::state::store) async fn is_primary(
    connection: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    // As one message, so that it needs no transaction behind a pooler.
    let row =
        connection.fetch_one("SELECT CASE WHEN pg_is_in_recovery() THEN 1 END IS NULL").await?;
    if row.try_get_unchecked::<bool, _>(0)? {
        return Ok(());
    }
    Err(sqlx::Error::Configuration(Box::new(Standby)))
}

/// Why a connection to a standby is not used.
#[derive(Debug)]
pub(in crate::state::store) struct Standby;

impl fmt::Display for Standby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is a standby, which learns of a revocation late; name the primary")
    }
}

impl Error for Standby {}
