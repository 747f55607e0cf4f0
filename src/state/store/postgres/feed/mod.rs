//! The revocation feed of a PostgreSQL database: triggers notify, and one connection listens.
//!
//! # What counts as a gap
//! 1. The listening connection broke, or anything else was answered on it than notifications.
//! 2. A heartbeat that went round by the connections that commit did not come back in time, which the
//!    authenticator notices: a network that swallows everything, a listener that is connected to another
//!    server than the one that takes the changes.
//! 3. The triggers are not those any more that were there when it began to listen: each heartbeat looks,
//!    and notices those too that were dropped, or switched off, and made again since.
//!
//! Everything else rests on the server: it delivers notifications in the order of the commits, so that
//! a heartbeat which came back says that everything committed before it was told.

mod ear;
mod round;
mod standing;

use std::{fmt, str::FromStr as _};

use sqlx::postgres::PgConnectOptions;

use self::ear::Ear;
use super::{
    super::{
        error::StoreError,
        feed::{Heard, RevocationFeed},
    },
    PostgresStore,
};

/// Hears of changes that others make to a PostgreSQL database, whatever program makes them.
/// [`PostgresStore::feed`] makes it; `AuthenticatorBuilder::feed` takes it.
///
/// # Rules
/// 1. It has one connection of its own, to the server that takes the changes, and never through a pooler
///    in transaction mode: [`listen_at`](Self::listen_at) names another way there. Where the store was
///    told of such a [pooler](super::PostgresOptions::transaction_pooler) and the feed of no other way,
///    it stays unhealthy and says so.
/// 2. Its heartbeat goes through the store's pool, and looks after the triggers on its way; while it
///    waits for a place there, the feed hears on. Missing triggers are made again where that is
///    [allowed](super::PostgresOptions::migrate) and the role owns the tables; otherwise the feed stays
///    unhealthy and says so.
/// 3. Any role of the database may notify. What comes in can only ever make the authenticator look at
///    the tables again.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_token_auth::{Authenticator, PostgresStore};
///
/// let store = PostgresStore::open("postgres://auth:secret@db.example.com/auth").await?;
/// let feed = store.feed();
/// let (auth, guard) = Authenticator::builder(store).feed(feed).build()?;
/// # drop((auth, guard));
/// # Ok(())
/// # }
/// ```
pub struct PostgresFeed {
    store: PostgresStore,
    /// Where to listen, if not where the store's connections lead.
    at: Option<PgConnectOptions>,
    ear: Option<Ear>,
}

impl PostgresStore {
    /// A feed that hears of changes made elsewhere to this database, for one authenticator. Nothing is
    /// connected before it listens.
    #[must_use]
    pub fn feed(&self) -> PostgresFeed {
        PostgresFeed { store: self.clone(), at: None, ear: None }
    }
}

impl PostgresFeed {
    /// Listens by another URL than the store's: past a pooler in transaction mode, through which
    /// nothing can be listened to. It has to lead to the same database.
    ///
    /// # Errors
    /// When it is no PostgreSQL URL.
    pub fn listen_at(mut self, url: &str) -> Result<Self, StoreError> {
        let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
        let at = PgConnectOptions::from_str(url).ok().filter(|_| is_url);
        // Not quoted: it may hold a password.
        self.at = Some(at.ok_or_else(|| {
            StoreError::unusable(
                "the feed's location can't be read; name one such as \
                 `postgres://user:password@host/database`",
            )
        })?);
        Ok(self)
    }
}

impl RevocationFeed for PostgresFeed {
    async fn listen(&mut self) -> Result<(), StoreError> {
        self.ear = None;
        self.ear = Some(Ear::open(&self.store, self.at.as_ref()).await?);
        Ok(())
    }

    async fn probe(&mut self, nonce: u64) -> Result<(), StoreError> {
        self.ear.as_mut().ok_or_else(deaf)?.probe(nonce);
        Ok(())
    }

    async fn next(&mut self) -> Result<Heard, StoreError> {
        let ear = self.ear.as_mut().ok_or_else(deaf)?;
        let heard = ear.hear().await;
        if heard.is_err() {
            self.ear = None;
        }
        heard
    }

    /// A heartbeat that waits for a place in the pool would be given one, and keep it.
    fn rest(&mut self) {
        self.ear = None;
    }
}

fn gap(what: &'static str) -> StoreError {
    StoreError::unusable(format!("the feed has a gap: {what}"))
}

fn deaf() -> StoreError {
    StoreError::unusable("this feed does not listen, as it failed before")
}

impl fmt::Debug for PostgresFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresFeed")
            .field("is_listening", &self.ear.is_some())
            .finish_non_exhaustive()
    }
}
