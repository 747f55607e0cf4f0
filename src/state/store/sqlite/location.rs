//! Where a database is: a path or a `sqlite:` URL, read once.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use sqlx::sqlite::SqliteConnectOptions;

use super::super::error::StoreError;

/// A database to open, and how it may be used.
pub(super) struct Location {
    pub(super) connect: SqliteConnectOptions,
    pub(super) access: Access,
    pub(super) place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadWrite,
    /// The location says so: `mode=ro`, or `immutable`.
    ReadOnly,
    /// Nothing is left when the last connection closes, so there is exactly one.
    Memory,
}

/// What an error calls the database.
pub(super) struct Place {
    pub(super) path: Option<PathBuf>,
    pub(super) may_create: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "the key database `{}`", path.display()),
            None => f.write_str("the key database"),
        }
    }
}

impl Place {
    /// A database that somebody else opened.
    pub(super) fn elsewhere() -> Self {
        Self { path: None, may_create: false }
    }
}

impl Location {
    pub(super) fn parse(location: &Path) -> Result<Self, StoreError> {
        let text = location.to_str().ok_or_else(|| {
            StoreError::unusable("the key database's path is not UTF-8; choose another path")
        })?;
        match text.strip_prefix("sqlite:") {
            Some(rest) => Self::of_url(text, rest),
            None if text == ":memory:" => Self::of_url("sqlite::memory:", text),
            // Empty, SQLite would make a nameless file and delete it at the end.
            None if text.is_empty() => Err(StoreError::unusable(
                "the key database's path is empty; name a file, such as token-auth.db",
            )),
            // Not quoted: another database's URL may hold a password.
            None if text.contains("://") => Err(StoreError::unusable(
                "the key database's location is another kind of URL; name a file, or a URL that \
                 begins with `sqlite:`",
            )),
            None => Ok(Self::of_path(location)),
        }
    }

    fn of_path(path: &Path) -> Self {
        Self {
            connect: SqliteConnectOptions::new().filename(path).create_if_missing(true),
            access: Access::ReadWrite,
            place: Place { path: Some(path.to_owned()), may_create: true },
        }
    }

    fn of_url(url: &str, rest: &str) -> Result<Self, StoreError> {
        let connect = SqliteConnectOptions::from_str(url).map_err(|error| {
            StoreError::unusable(format!("the key database's URL can't be read: {error}"))
        })?;
        let parameters = rest.split_once('?').map_or("", |(_, parameters)| parameters);
        let has = |wanted: &[&str]| parameters.split('&').any(|pair| wanted.contains(&pair));
        let access = if rest.starts_with(":memory:") || has(&["mode=memory"]) {
            Access::Memory
        } else if has(&["mode=ro", "immutable=1", "immutable=true"]) {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        let may_create = access == Access::ReadWrite && !has(&["mode=rw"]);
        let path = (access != Access::Memory).then(|| connect.get_filename().to_owned());
        let connect = if may_create { connect.create_if_missing(true) } else { connect };
        Ok(Self { connect, access, place: Place { path, may_create } })
    }
}
