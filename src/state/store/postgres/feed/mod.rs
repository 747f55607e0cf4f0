//! The revocation feed of a PostgreSQL database: triggers notify, and one connection listens.

mod standing;

use std::fmt;

use sqlx::postgres::PgConnectOptions;

use super::{
    super::{
        error::StoreError,
        feed::{Heard, RevocationFeed},
        sql::hearing::{self, Ear, deaf},
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
    ear: Option<Ear<PostgresStore>>,
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
        self.at = Some(hearing::place(url)?);
        Ok(self)
    }
}

impl RevocationFeed for PostgresFeed {
    async fn listen(&mut self) -> Result<(), StoreError> {
        self.ear = None;
        if self.store.is_pooled && self.at.is_none() {
            // It would be told "LISTEN" and hear nothing, or what is meant for somebody else.
            return Err(StoreError::unusable(
                "through a pooler in transaction mode nothing can be listened to; name the server's \
                 own URL with `PostgresFeed::listen_at`",
            ));
        }
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

impl fmt::Debug for PostgresFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresFeed")
            .field("is_listening", &self.ear.is_some())
            .finish_non_exhaustive()
    }
}
