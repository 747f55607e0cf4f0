//! What an error of sqlx means: to a caller of the store, and to whoever opens a database.

use std::fs;

use super::{
    super::{error::StoreError, opening::OpenError},
    location::Place,
};

/// Said of every change that a database does not take.
pub(super) const READ_ONLY: &str = "the database is read-only";

/// A WAL database needs two more files beside it, for its readers as well.
const CLOSED_FOLDER: &str = "its folder can't be written, which SQLite needs even to read a WAL \
                             database; make the folder writable, or open it as \
                             `sqlite:PATH?immutable=1` if nothing changes it";

// SQLite's primary result codes, <https://www.sqlite.org/rescode.html>.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IO: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANT_OPEN: i32 = 14;
const NOT_A_DATABASE: i32 = 26;
/// Extended: the folder can't be written, which a change needs as much as the file.
const READONLY_DIRECTORY: i32 = 1544;

/// An error of a read, or of a change before its commit was sent.
pub(super) fn of(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Io(_) => StoreError::unavailable(error),
        // The file was moved or its journal can't be recovered: extended codes of READONLY that
        // may pass, so that the recorder should ask again.
        _ => match extended_code(&error) {
            Some(READONLY | READONLY_DIRECTORY) => StoreError::unsupported(READ_ONLY),
            Some(code)
                if matches!(code & 0xff, READONLY | BUSY | LOCKED | IO | FULL | CANT_OPEN) =>
            {
                StoreError::unavailable(error)
            }
            _ => StoreError::other(error),
        },
    }
}

/// An error of a commit: it may have come after the commit. Not where another connection reads a database
/// without WAL, so that this one could not have it for itself: "the transaction remains active"
/// (<https://www.sqlite.org/lang_transaction.html>), and is rolled back before the connection is used again.
pub(super) fn of_commit(error: sqlx::Error) -> StoreError {
    if extended_code(&error).is_some_and(|code| code & 0xff == BUSY) {
        return StoreError::not_applied_because(error);
    }
    StoreError::other(error)
}

/// Whether another connection holds a lock, which passes.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    extended_code(error).is_some_and(|code| matches!(code & 0xff, BUSY | LOCKED))
}

/// Whether the file or its folder does not take changes.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    extended_code(error).is_some_and(|code| matches!(code & 0xff, READONLY | CANT_OPEN))
}

fn extended_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// An error while a database was opened, in one line that says what to do.
pub(super) fn on_opening(place: &Place, error: sqlx::Error) -> StoreError {
    let advice = match extended_code(&error).map(|code| code & 0xff) {
        Some(CANT_OPEN) => cant_open(place),
        Some(READONLY) if extended_code(&error) == Some(READONLY_DIRECTORY) => CLOSED_FOLDER.into(),
        Some(NOT_A_DATABASE) => {
            "it is not a SQLite database; name another file, or move this one away".into()
        }
        Some(CORRUPT) => "the file is damaged; restore it from a backup".into(),
        Some(READONLY) => {
            "it is read-only and its tables are missing or out of date; make the file \
                           and its folder writable for this process once"
                .into()
        }
        Some(BUSY | LOCKED) => {
            "another process kept it locked; end that process's transaction, or \
                                set a longer busy timeout"
                .into()
        }
        Some(IO) => "it can't be read or written; check the disk and the file's permissions".into(),
        Some(FULL) => "the disk is full; make room".into(),
        _ => format!("{}; check the location and the table prefix", plain(&error)),
    };
    StoreError::unusable(OpenError::new(format!("can't use {place}: {advice}"), error))
}

/// SQLite's own words, without sqlx's before them.
fn plain(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// SQLite says no more than that it can't open a file; the file system knows why.
fn cant_open(place: &Place) -> String {
    let Some(path) = &place.path else {
        return "it can't be opened; check the location".into();
    };
    if path.is_dir() {
        return "it is a folder; name a file in it".into();
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.exists()) {
        return "its folder does not exist; create the folder, or choose another path".into();
    }
    match fs::File::open(path) {
        Ok(_) => CLOSED_FOLDER.into(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && place.may_create => {
            "its folder can't be written; make it writable for this process, or choose another path"
                .into()
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "there is no such file; leave out `mode` to make one".into()
        }
        Err(error) => format!("the file can't be read ({error}); check its permissions"),
    }
}

/// A row that this transaction wrote is there, unless a trigger of the user's took it away.
pub(super) fn vanished() -> StoreError {
    StoreError::other("a row that was just written is not there; does a trigger remove it?")
}
