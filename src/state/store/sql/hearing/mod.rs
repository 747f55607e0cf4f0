//! How word of changes comes in that triggers of a PostgreSQL database tell of: one connection listens.
//!
//! # What counts as a gap
//! 1. The listening connection broke, or anything else was answered on it than notifications.
//! 2. A heartbeat that went round by the connections that commit did not come back in time, which the
//!    authenticator notices: a network that swallows everything, a listener that is connected to another
//!    server than the one that takes the changes.
//! 3. The triggers are not those any more that were there when it began to listen: each heartbeat looks,
//!    and notices those too that were dropped, or switched off, and made again since. Nor are the columns
//!    that they tell of: altered, made anew, or another one under their name; nor the table that the store
//!    asks by its name; nor may everybody call any more what they tell by.
//!
//! Everything else rests on the server: it delivers notifications in the order of the commits, so that
//! a heartbeat which came back says that everything committed before it was told.

mod ear;
mod round;

use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;

pub(in crate::state::store) use ear::Ear;

use super::telling::{Found, Telling};
use crate::state::store::error::StoreError;

/// A store whose changes triggers tell of.
pub(in crate::state::store) trait Told:
    Clone + Send + Sync + 'static
{
    /// What is to stand of them.
    fn telling(&self) -> Telling;

    /// Where its connections lead.
    fn leads_to(&self) -> PgConnectOptions;

    /// What stands of them, by a question that may do more than ask; it goes through the connections
    /// that commit.
    fn look(&self, sql: String) -> impl Future<Output = Result<Found, StoreError>> + Send;

    /// Puts them right.
    fn mend(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What an error means.
    fn failure(error: sqlx::Error) -> StoreError;

    /// What one means of a place that can't be connected to.
    fn trouble_at(at: &PgConnectOptions, error: sqlx::Error) -> StoreError;
}

/// Where a feed listens that is told of another place than its store's.
pub(in crate::state::store) fn place(url: &str) -> Result<PgConnectOptions, StoreError> {
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    // Not quoted: it may hold a password.
    PgConnectOptions::from_str(url).ok().filter(|_| is_url).ok_or_else(|| {
        StoreError::unusable(
            "the feed's location can't be read; name one such as \
             `postgres://user:password@host/database`",
        )
    })
}

pub(in crate::state::store) fn deaf() -> StoreError {
    StoreError::unusable("this feed does not listen, as it failed before")
}

fn gap(what: &'static str) -> StoreError {
    StoreError::unusable(format!("the feed has a gap: {what}"))
}
