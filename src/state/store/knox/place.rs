//! Where a database is, and what an error says about it.

use std::fmt;

use sqlx::postgres::PgConnectOptions;

use super::{
    super::{error::StoreError, opening::OpenError, sql::primary::Standby},
    failure::{Meaning, Refusal},
};

/// What an error calls the database; never its password.
pub(super) struct Place(Option<String>);

/// Why a database can't be used.
pub(super) enum Trouble {
    Database(sqlx::Error),
    /// What is wrong with what is there, and what to do.
    Schema(String),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Place {
    pub(super) fn named(name: String) -> Self {
        Self(Some(name))
    }

    /// A database that somebody else opened.
    pub(super) fn elsewhere() -> Self {
        Self(None)
    }

    pub(super) fn trouble(&self, trouble: Trouble) -> StoreError {
        let error = match trouble {
            Trouble::Schema(advice) => {
                return StoreError::unusable(format!("can't use {self}: {advice}"));
            }
            Trouble::Database(error) => error,
        };
        let refusal = Refusal::of(&error);
        let advice = match &refusal {
            Some(refusal) => advice(refusal),
            None => connecting(&error),
        };
        // What lies behind it is told apart from it, without what the server may quote of a row.
        let source = refusal.map_or_else(|| error.to_string(), |refusal| refusal.to_string());
        StoreError::unusable(OpenError::new(format!("can't use {self}: {advice}"), source))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(place) => write!(f, "the Django database {place}"),
            None => f.write_str("the Django database"),
        }
    }
}

/// What a PostgreSQL database is called.
pub(super) fn of_postgres(connect: &PgConnectOptions) -> String {
    let database = connect.get_database().unwrap_or_else(|| connect.get_username());
    match connect.get_socket() {
        Some(socket) => format!("`{database}` at {}", socket.display()),
        None => format!("`{database}` at {}:{}", connect.get_host(), connect.get_port()),
    }
}

/// A connection that never came to be, or broke.
fn connecting(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => {
            format!("it can't be reached ({error}); check that the server runs, its host and port")
        }
        sqlx::Error::PoolTimedOut => {
            "no connection came in time; check that the server runs, and the pool's size".into()
        }
        sqlx::Error::Configuration(why) if why.is::<Standby>() => why.to_string(),
        sqlx::Error::Tls(error) => format!(
            "no encrypted connection ({error}); enable one of the features `tls-rustls-…`, and \
             check the certificates"
        ),
        error => format!("{error}; check the URL"),
    }
}

/// What the server said, and what to do.
fn advice(refusal: &Refusal) -> String {
    let what = match refusal.meaning {
        // PgBouncer's words.
        _ if refusal.says("startup parameter") => {
            "a pooler stands before it: it has to be one in session mode, and to let the parameters \
             `options` and `extra_float_digits` pass, as by `ignore_startup_parameters`; or name the \
             server itself"
        }
        Meaning::NoRights => {
            "grant the role SELECT on knox's table, the users' table and, with Smarter, its tables of \
             keys, profiles, accounts and clients' keys"
        }
        Meaning::Login => "check the user and the password, and what the server lets in",
        Meaning::NoSuchDatabase => "name Django's database in the URL",
        Meaning::NoSuchTable => "name the tables by `KnoxOptions`",
        Meaning::Passing | Meaning::Busy => {
            "try again when it is up, and for a SQLite file check the path"
        }
        _ => "check the URL and the names of the tables",
    };
    format!("{refusal}; {what}")
}
