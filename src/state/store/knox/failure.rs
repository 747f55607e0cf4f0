//! What an error of sqlx means: to a caller of the store, and to whoever opens a database.

use std::{error::Error, fmt};

use sqlx::{
    error::ErrorKind,
    mysql::MySqlDatabaseError,
    postgres::{PgDatabaseError, PgSeverity},
};

use super::super::error::StoreError;

/// What the server said, less what it may quote of a row: MySQL names the digest that is taken.
#[derive(Debug)]
pub(super) struct Refusal {
    code: Box<str>,
    pub(super) meaning: Meaning,
    message: Option<Box<str>>,
    is_fatal: bool,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The role, or the database, does not let us.
    NoRights,
    /// Another transaction came first, and this one may be made again.
    Conflict,
    /// The connection, resources, locks, an operator's doing: it passes.
    Passing,
    /// Of SQLite: somebody else has the file. It passes; and a commit that says so was not made.
    Busy,
    /// A unique index.
    Taken,
    /// A constraint that a transaction breaks; also one that is looked at when it ends.
    Constraint,
    NoSuchTable,
    NoSuchDatabase,
    Login,
    Other,
}

impl Refusal {
    pub(super) fn of(error: &sqlx::Error) -> Option<Self> {
        let error = error.as_database_error()?;
        let kind = error.kind();
        let (code, meaning, is_fatal) =
            if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                let fatal = matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
                (error.code().to_owned(), of_sqlstate(error.code()), fatal)
            } else if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                (error.number().to_string(), of_mysql(error.number()), false)
            } else {
                let code = error.code().unwrap_or_default().into_owned();
                let meaning = of_sqlite(code.parse().unwrap_or_default());
                (code, meaning, false)
            };
        let meaning = match (meaning, kind) {
            (Meaning::Other, ErrorKind::UniqueViolation) => Meaning::Taken,
            (Meaning::Other, ErrorKind::Other) => Meaning::Other,
            (Meaning::Other, _) => Meaning::Constraint,
            (meaning, _) => meaning,
        };
        use Meaning::{Busy, Login, NoRights, NoSuchDatabase, NoSuchTable, Passing};
        let is_harmless =
            matches!(meaning, Busy | Login | NoRights | NoSuchDatabase | NoSuchTable | Passing);
        let message = is_harmless.then(|| error.message().into());
        Some(Self { code: code.into(), meaning, message, is_fatal })
    }
}

impl Refusal {
    /// Whether these words are in what the server said of itself.
    pub(super) fn says(&self, words: &str) -> bool {
        self.message.as_deref().is_some_and(|message| message.contains(words))
    }
}

/// SQLSTATE, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn of_sqlstate(code: &str) -> Meaning {
    match (code, code.get(..2).unwrap_or_default()) {
        ("42501" | "25006", _) => Meaning::NoRights,
        ("40001" | "40P01", _) => Meaning::Conflict,
        ("23505", _) => Meaning::Taken,
        ("42P01", _) => Meaning::NoSuchTable,
        ("3D000", _) => Meaning::NoSuchDatabase,
        (_, "28") => Meaning::Login,
        (_, "23") => Meaning::Constraint,
        (_, "08" | "40" | "53" | "55" | "57" | "58") => Meaning::Passing,
        _ => Meaning::Other,
    }
}

/// <https://mariadb.com/docs/server/reference/error-codes>, and MySQL's own list.
fn of_mysql(number: u16) -> Meaning {
    match number {
        // Table, column, routine; read-only server, transaction, mode.
        1044 | 1142 | 1143 | 1227 | 1290 | 1792 | 1836 => Meaning::NoRights,
        // A deadlock; a row that changed under a snapshot.
        1213 | 1020 => Meaning::Conflict,
        // Lock waits, too many connections, shutdown, disk, interrupted and too slow statements.
        1021 | 1040 | 1041 | 1053 | 1203 | 1205 | 1317 | 1969 | 3024 => Meaning::Passing,
        1146 => Meaning::NoSuchTable,
        1046 | 1049 => Meaning::NoSuchDatabase,
        1045 | 1251 | 1698 => Meaning::Login,
        _ => Meaning::Other,
    }
}

/// Extended result codes, <https://www.sqlite.org/rescode.html>.
fn of_sqlite(code: i32) -> Meaning {
    match (code, code & 0xff) {
        // Its folder can't be written counts as well; a moved file may pass.
        (8 | 1544, _) => Meaning::NoRights,
        (_, 5) => Meaning::Busy,
        // Locked, read-only for now, input and output, full, can't open.
        (_, 6 | 8 | 10 | 13 | 14) => Meaning::Passing,
        _ => Meaning::Other,
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{message} (code {})", self.code),
            None => write!(f, "the database refused the statement (code {})", self.code),
        }
    }
}

impl Error for Refusal {}

/// An error of a statement: of a change, one before its commit was sent.
pub(super) fn of(error: sqlx::Error) -> StoreError {
    let Some(refusal) = Refusal::of(&error) else {
        return match error {
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_) => {
                StoreError::other("a row can't be read: a column is no text")
            }
            // No connection, or one that broke.
            _ => StoreError::unavailable(error),
        };
    };
    match refusal.meaning {
        Meaning::NoRights => StoreError::unsupported(refusal),
        Meaning::Passing | Meaning::Conflict | Meaning::Busy => StoreError::unavailable(refusal),
        _ => StoreError::other(refusal),
    }
}

/// An error of a read: one that may not look could not look.
pub(super) fn of_read(error: sqlx::Error) -> StoreError {
    match of(error) {
        error if error.is_unsupported() => StoreError::unavailable(error),
        error => error,
    }
}

/// An error of a commit. It may have come after the commit, unless the server says itself that it
/// undid the transaction: a deferred constraint, or a conflict. Where SQLite could not have the file for
/// itself, "the transaction remains active" (<https://www.sqlite.org/lang_transaction.html>), and ends with
/// its connection.
pub(super) fn of_commit(error: sqlx::Error) -> StoreError {
    match Refusal::of(&error) {
        Some(refusal) if refusal.is_fatal || &*refusal.code == "40003" => {
            StoreError::other(refusal)
        }
        Some(refusal)
            if matches!(
                refusal.meaning,
                Meaning::Taken | Meaning::Constraint | Meaning::Conflict | Meaning::Busy
            ) =>
        {
            StoreError::not_applied_because(refusal)
        }
        Some(refusal) => StoreError::other(refusal),
        None => StoreError::other(error),
    }
}

/// Whether the transaction was undone for another one's sake, and may be made again: a deadlock, or
/// somebody who made the row that was not there when this one looked.
pub(super) fn is_conflict(error: &StoreError) -> bool {
    let refusal: Option<&Refusal> = error.source().and_then(|source| source.downcast_ref());
    refusal.is_some_and(|refusal| matches!(refusal.meaning, Meaning::Conflict | Meaning::Taken))
}

/// Whether the server answered, so that the connection it answered on is sound.
pub(super) fn is_answer(error: &sqlx::Error) -> bool {
    Refusal::of(error).is_some_and(|refusal| !refusal.is_fatal)
}

/// An error of a change whose commit was never sent, so that it certainly was not made.
pub(super) fn definite(error: StoreError) -> StoreError {
    if error.is_definite() { error } else { StoreError::not_applied_because(error) }
}

/// A row that this transaction wrote is there, unless a trigger of the user's took it away.
pub(super) fn vanished() -> StoreError {
    StoreError::other("a row that was just written is not there; does a trigger remove it?")
}
