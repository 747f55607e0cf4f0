//! The store over an existing Django's tables: those of django-rest-knox, or of Smarter on top of it.

mod add;
mod belonging;
mod catalogue;
mod change;
mod conditions;
mod connect;
mod dialect;
mod discover;
mod failure;
mod feed;
mod following;
mod hold;
mod ids;
mod list;
mod metadata;
mod moment;
mod open;
mod options;
mod place;
mod range;
mod read;
mod row;
mod schema;
mod session;
mod standing;
mod statements;
mod tokens;
mod triggers;
mod uses;
mod write;

use std::{fmt, sync::Arc};

pub use feed::KnoxFeed;
pub use options::KnoxOptions;
pub use tokens::{TokenPage, TokenPlace, TokenTable, TokenTableKind};

use self::{
    feed::Watchers,
    schema::{Schema, Smarter},
    session::Pool,
    statements::Statements,
    triggers::Triggers,
};
use super::error::StoreError;
use crate::value::owner::AccountId;

/// Keys in the tables of an existing Django, on SQLite, PostgreSQL, MySQL or MariaDB. Clones share its
/// connections.
///
/// Tokens that django-rest-knox 5 issued are admitted, and those issued here are admitted there. It
/// finds by itself whether the tables are plain knox's or Smarter's, which keeps names, an active flag
/// and a last use beside each of knox's rows.
///
/// # Rules
/// 1. Nothing is made or changed in the schema, unless [triggers](KnoxOptions::install_triggers) are asked
///    for. Tables of older versions of knox are refused, with the
///    statement that counts what is in them.
/// 2. A lookup is one query on the digest's primary key, with the owner joined in; digests are compared
///    byte for byte here, whatever the database's collation says.
/// 3. An expiry that is no date, such as MySQL's `0000-00-00`, is an error that names the column, never
///    a key that does not expire. Where keys are listed, counted and ended it is taken for one that is
///    long past, 1970-01-01, so that such a row holds up no other; a clean-up of expired keys deletes it.
/// 4. In Smarter's database, a row of knox's without Smarter's own beside it is no key.
/// 5. A key of plain knox's has no name, is active, and keeps no last use; its id is
///    [made of its digest](crate::KeyId::of_digest).
/// 6. Users and accounts are Django's to change. A user has to be there before a key is issued to them.
#[derive(Clone)]
pub struct KnoxStore {
    pool: Pool,
    /// Whether the pool was made here, so that it is ours to close.
    is_ours: bool,
    schema: Arc<Schema>,
    statements: Arc<Statements>,
    watchers: Arc<Watchers>,
    /// Of PostgreSQL alone.
    triggers: Option<Arc<Triggers>>,
}

impl KnoxStore {
    /// Opens a database with the default options, by its URL or, of SQLite, its path.
    ///
    /// # Errors
    /// When the database can't be reached, or its tables are not those of knox 5; the message says what
    /// to do, and never the password.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::options().open(url).await
    }

    /// Sets up a store other than by default.
    pub fn options() -> KnoxOptions {
        KnoxOptions::default()
    }

    fn over(pool: Pool, schema: Schema, triggers: Option<Triggers>) -> Self {
        if let Pool::Sqlite(file) = &pool {
            file.expect(&schema);
        }
        let statements = Arc::new(Statements::new(&schema));
        let (schema, triggers) = (Arc::new(schema), triggers.map(Arc::new));
        Self { pool, is_ours: false, schema, statements, watchers: Arc::default(), triggers }
    }

    /// Whether the tables are Smarter's, and not plain knox's.
    #[must_use]
    pub fn is_smarter(&self) -> bool {
        self.schema.smarter.is_some()
    }

    /// The account of Smarter's platform, if there is one, as it was when the store was opened: for
    /// [`platform_account`](crate::AuthenticatorBuilder::platform_account).
    #[must_use]
    pub fn platform_account(&self) -> Option<&AccountId> {
        self.smarter()?.platform.as_ref()
    }

    /// Waits until every connection that [`open`](Self::open) made is closed. A pool of the user's stays
    /// open.
    pub async fn close(&self) {
        if self.is_ours {
            self.pool.close().await;
        }
    }

    fn smarter(&self) -> Option<&Smarter> {
        self.schema.smarter.as_ref()
    }
}

impl fmt::Debug for KnoxStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnoxStore")
            .field("database", &self.pool.dialect())
            .field("is_smarter", &self.is_smarter())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
