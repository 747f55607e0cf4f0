//! Where a database is, and what an error says about it.

use std::{fmt, io};

use sqlx::postgres::PgConnectOptions;

use super::{
    super::{error::StoreError, opening::OpenError, sql::primary::Standby},
    failure::Refusal,
    migrate::Trouble,
};

/// What an error calls the database; never its password.
pub(super) struct Place(Option<String>);

impl Place {
    pub(super) fn of(connect: &PgConnectOptions) -> Self {
        let database = connect.get_database().unwrap_or_else(|| connect.get_username());
        let host = match connect.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", connect.get_host(), connect.get_port()),
        };
        Self(Some(format!("`{database}` at {host}")))
    }

    /// A database that somebody else opened.
    pub(super) fn elsewhere() -> Self {
        Self(None)
    }

    pub(super) fn trouble(&self, trouble: Trouble) -> StoreError {
        match trouble {
            Trouble::Database(error) => self.failure(&error),
            Trouble::Schema(advice) => StoreError::unusable(format!("can't use {self}: {advice}")),
        }
    }

    /// One line that says what to do.
    fn failure(&self, error: &sqlx::Error) -> StoreError {
        let refusal = Refusal::of(error);
        let advice = match &refusal {
            Some(refusal) => advice(refusal),
            None => connecting(error),
        };
        // What lies behind it is told apart from it, without what the server may quote of a row.
        let source = refusal.map_or_else(|| error.to_string(), |refusal| refusal.to_string());
        StoreError::unusable(OpenError::new(format!("can't use {self}: {advice}"), source))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(place) => write!(f, "the key database {place}"),
            None => f.write_str("the key database"),
        }
    }
}

/// A connection that never came to be, or broke.
fn connecting(error: &sqlx::Error) -> String {
    match error {
        // A certificate that does not fit comes as data that does not.
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => unencrypted(error),
        sqlx::Error::Io(error) => {
            format!("it can't be reached ({error}); check that the server runs, its host and port")
        }
        sqlx::Error::Configuration(why) if why.is::<Standby>() => why.to_string(),
        sqlx::Error::PoolTimedOut => {
            "no connection came in time; check that the server runs, and the pool's size".into()
        }
        sqlx::Error::Tls(error) => unencrypted(error),
        error => format!("{error}; check the URL"),
    }
}

/// A connection that was to be encrypted, and could not be.
fn unencrypted(error: &impl fmt::Display) -> String {
    let is_able = cfg!(any(
        feature = "tls-rustls-aws-lc-rs",
        feature = "tls-rustls-ring-native-roots",
        feature = "tls-rustls-ring-webpki"
    ));
    let advice = if is_able {
        "check that the server has `ssl` on, its certificate, and the URL's `sslmode` and `sslrootcert`"
    } else {
        "enable one of the features `tls-rustls-aws-lc-rs`, `tls-rustls-ring-native-roots` and \
         `tls-rustls-ring-webpki`"
    };
    format!("no encrypted connection ({error}); {advice}")
}

/// What the server said, and what to do.
fn advice(refusal: &Refusal) -> String {
    let said = refusal.message();
    match refusal.code() {
        "28P01" | "28000" => {
            format!("{said}; check the user and the password, and the server's pg_hba.conf")
        }
        "3D000" => format!("{said}; create it, or name another one"),
        "42501" => format!(
            "{said}; grant the role what it needs, or let another role run the statements of \
             `PostgresOptions::ddl`"
        ),
        "42P06" | "42P07" | "42710" => {
            format!("{said}, and is not ours; choose another table prefix or schema")
        }
        "42P01" | "42703" | "42804" | "42883" => {
            format!("its tables are not ours ({said}); choose another table prefix or schema")
        }
        "25006" => {
            format!("{said}; its tables are missing or out of date, let another role make them")
        }
        "53300" => format!("{said}; raise max_connections, or make the pools smaller"),
        "57P03" => format!("{said}; try again when it is up"),
        "08P01" | "26000" | "42P05" => format!(
            "{said}; if a pooler such as PgBouncer stands before it, set \
             `PostgresOptions::transaction_pooler`"
        ),
        _ => format!("{said}; check the URL, the schema and the table prefix"),
    }
}
