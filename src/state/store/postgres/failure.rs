//! What an error of sqlx means: to a caller of the store, and to whoever opens a database.

use std::{error::Error, fmt};

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::super::error::StoreError;

// SQLSTATE, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const READ_ONLY: &str = "25006";
const SERIALIZATION_FAILURE: &str = "40001";
const COMPLETION_UNKNOWN: &str = "40003";
const DEADLOCK: &str = "40P01";
const NO_RIGHTS: &str = "42501";
const UNIQUE: &str = "23505";
/// A statement that was prepared is gone, or would answer with other columns than it did.
const OUTDATED: [&str; 2] = ["26000", "0A000"];
/// What passes: the connection, resources, locks, an operator's doing, the system beneath.
const PASSING: [&str; 6] = ["08", "40", "53", "55", "57", "58"];

/// What the server said, without what it may quote of a row: its detail names digests.
#[derive(Debug)]
pub(super) struct Refusal {
    code: Box<str>,
    message: Box<str>,
    constraint: Option<Box<str>>,
    is_fatal: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)
    }
}

impl Error for Refusal {}

impl Refusal {
    pub(super) fn of(error: &sqlx::Error) -> Option<Self> {
        let error = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
        Some(Self {
            code: error.code().into(),
            message: error.message().into(),
            constraint: error.constraint().map(Into::into),
            is_fatal: matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic),
        })
    }

    pub(super) fn code(&self) -> &str {
        &self.code
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    fn is_of_class(&self, class: &str) -> bool {
        self.code.starts_with(class)
    }
}

/// An error of a statement: of a change, one before its commit was sent.
pub(super) fn of(error: sqlx::Error) -> StoreError {
    let Some(refusal) = Refusal::of(&error) else {
        return match error {
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_) => StoreError::other(error),
            // No connection, or one that broke.
            _ => StoreError::unavailable(error),
        };
    };
    match refusal.code() {
        NO_RIGHTS | READ_ONLY => StoreError::unsupported(refusal),
        _ if PASSING.iter().any(|class| refusal.is_of_class(class)) => {
            StoreError::unavailable(refusal)
        }
        _ => StoreError::other(refusal),
    }
}

/// An error of a read. Only a value that can't be read, or whose page is broken, is about a row: whatever
/// else the server says is about the statement, which then fails for every row alike.
pub(super) fn of_read(error: sqlx::Error) -> StoreError {
    match Refusal::of(&error) {
        Some(refusal) if !["22", "XX"].iter().any(|class| refusal.is_of_class(class)) => {
            StoreError::unavailable(refusal)
        }
        _ => of(error),
    }
}

/// An error of a commit. It may have come after the commit, unless the server says itself that it
/// undid the transaction: a deferred constraint, a conflict, or a queue of notifications that is full.
pub(super) fn of_commit(error: sqlx::Error) -> StoreError {
    match Refusal::of(&error) {
        Some(refusal) if refusal.is_fatal || refusal.code() == COMPLETION_UNKNOWN => {
            StoreError::other(refusal)
        }
        Some(refusal) if ["23", "40", "54"].iter().any(|class| refusal.is_of_class(class)) => {
            StoreError::not_applied_because(refusal)
        }
        Some(refusal) => StoreError::other(refusal),
        None => StoreError::other(error),
    }
}

/// Somebody else made a row that was not there when this transaction looked.
pub(super) fn overtaken() -> StoreError {
    StoreError::unavailable(Refusal {
        code: SERIALIZATION_FAILURE.into(),
        message: "another transaction made the row first".into(),
        constraint: None,
        is_fatal: false,
    })
}

/// Whether the transaction was undone for another one's sake, or for its statements', and may be made
/// again.
pub(super) fn is_conflict(error: &StoreError) -> bool {
    let conflicts = |refusal: &Refusal| matches!(refusal.code(), SERIALIZATION_FAILURE | DEADLOCK);
    refusal(error).is_some_and(conflicts) || is_outdated(error)
}

/// Whether the connection's prepared statements are to be made anew: somebody has changed the tables, or
/// has thrown them away.
pub(super) fn is_outdated(error: &StoreError) -> bool {
    refusal(error).is_some_and(|refusal| OUTDATED.contains(&refusal.code()))
}

/// The unique constraint that a statement ran into.
pub(super) fn taken(error: &StoreError) -> Option<&str> {
    refusal(error).filter(|refusal| refusal.code() == UNIQUE)?.constraint.as_deref()
}

/// Whether the server answered, so that the connection it answered on is sound.
pub(super) fn is_answer(error: &StoreError) -> bool {
    refusal(error).is_some_and(|refusal| !refusal.is_fatal)
}

/// An error of a change whose commit was never sent, so that it certainly was not made.
pub(super) fn definite(error: StoreError) -> StoreError {
    if error.is_definite() { error } else { StoreError::not_applied_because(error) }
}

fn refusal(error: &StoreError) -> Option<&Refusal> {
    error.source()?.downcast_ref()
}

/// A row that this transaction wrote is there, unless a trigger of the user's took it away.
pub(super) fn vanished() -> StoreError {
    StoreError::other("a row that was just written is not there; does a trigger remove it?")
}
