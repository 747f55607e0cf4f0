//! The revocation feed of an existing Django's database: it looks again, and again, at the keys that were
//! used lately; or hears what triggers tell, where they were asked for.
//!
//! Django's tables keep no log of what was changed, and knox's have no column that tells when. So the
//! store notes what it finds, and the feed reads it again, many keys in one query: a key that is gone, or
//! that stands otherwise than it did, is told.

mod looking;
mod seen;
mod together;
mod wake;
mod watchers;

use std::{fmt, time::Duration};

use sqlx::postgres::PgConnectOptions;

use self::looking::{FRESH_TTL, Looking};
pub(super) use self::watchers::Watchers;
use super::{
    super::{
        error::StoreError,
        feed::{Heard, RevocationFeed},
        sql::hearing::{self, Ear, deaf},
    },
    KnoxStore,
};

/// Hears of what Django, or anybody, changes in its tables: knox's logout, a user or a key that was
/// deactivated or deleted, a new expiry. [`KnoxStore::feed`] makes it; `AuthenticatorBuilder::feed` takes
/// it.
///
/// # Rules
/// 1. It looks at the keys that the store, or a clone of it, has found in the last 15 s or more: give
///    that store to the authenticator. What is changed holds at the next look, a second later by default;
///    on SQLite, where it looks whether the file was written to, a tenth of one.
/// 2. So it goes with a fresh TTL of at most 10 s, which is the default; the builder refuses a longer one.
///    Up to 65,536 keys are looked at; those beyond hold for the fresh TTL.
/// 3. On a server each look costs a query for 256 keys in use, four at a time, on connections of the store's
///    pool.
/// 4. With [triggers](super::KnoxOptions::expect_triggers), on PostgreSQL, it listens instead: all of that is
///    then without meaning, and a change holds once it was committed, of any key and for any fresh TTL. It
///    has one connection of its own, to the server that takes the changes, and never through a pooler in
///    transaction mode: [`listen_at`](Self::listen_at) names another way there. Its heartbeat goes
///    through the store's pool and looks after the triggers on its way; while they are missing, or any was
///    touched since it began to listen, it has a gap. Whoever may connect may notify: what comes in can
///    only ever make the authenticator look at the tables again.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_token_auth::{Authenticator, KnoxStore};
///
/// let store = KnoxStore::open("mysql://django:secret@db.example.com/site").await?;
/// let feed = store.feed();
/// let (auth, guard) = Authenticator::builder(store).feed(feed).build()?;
/// # drop((auth, guard));
/// # Ok(())
/// # }
/// ```
pub struct KnoxFeed {
    store: KnoxStore,
    way: Way,
}

/// How it hears of changes.
enum Way {
    Looking(Looking),
    Listening(Box<Listening>),
}

#[derive(Default)]
struct Listening {
    /// Where, if not where the store's connections lead.
    at: Option<PgConnectOptions>,
    ear: Option<Ear<KnoxStore>>,
}

impl Listening {
    fn ear(&mut self) -> Result<&mut Ear<KnoxStore>, StoreError> {
        self.ear.as_mut().ok_or_else(deaf)
    }
}

impl KnoxStore {
    /// A feed that hears of changes made elsewhere, for the one authenticator that is built over this
    /// store. Nothing is asked before it listens.
    #[must_use]
    pub fn feed(&self) -> KnoxFeed {
        let way = if self.wants_triggers() {
            Way::Listening(Box::default())
        } else {
            Way::Looking(Looking::of(self))
        };
        KnoxFeed { store: self.clone(), way }
    }
}

impl KnoxFeed {
    /// Sets how often it looks, between 10 ms and 2 s. A change made elsewhere holds that much later at
    /// most. One that listens to triggers does not look.
    #[must_use]
    pub fn look_every(mut self, span: Duration) -> Self {
        if let Way::Looking(looking) = &mut self.way {
            looking.look_every(span);
        }
        self
    }

    /// Has a feed that listens to triggers do so by another URL than the store's: past a pooler in
    /// transaction mode, through which nothing can be listened to. It has to lead to the same database.
    ///
    /// # Errors
    /// When it is no PostgreSQL URL, or the store was asked for no triggers.
    pub fn listen_at(mut self, url: &str) -> Result<Self, StoreError> {
        let Way::Listening(listening) = &mut self.way else {
            return Err(StoreError::unusable(
                "this feed does not listen; ask for triggers by `KnoxOptions::expect_triggers` or \
                 `KnoxOptions::install_triggers`",
            ));
        };
        listening.at = Some(hearing::place(url)?);
        Ok(self)
    }
}

impl RevocationFeed for KnoxFeed {
    async fn listen(&mut self) -> Result<(), StoreError> {
        match &mut self.way {
            Way::Looking(looking) => looking.listen(&self.store).await,
            Way::Listening(listening) => {
                listening.ear = None;
                listening.ear = Some(Ear::open(&self.store, listening.at.as_ref()).await?);
                Ok(())
            }
        }
    }

    async fn probe(&mut self, nonce: u64) -> Result<(), StoreError> {
        match &mut self.way {
            Way::Looking(looking) => looking.asked = Some(nonce),
            Way::Listening(listening) => listening.ear()?.probe(nonce),
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Heard, StoreError> {
        match &mut self.way {
            Way::Looking(looking) => looking.next(&self.store).await,
            Way::Listening(listening) => {
                let heard = listening.ear()?.hear().await;
                if heard.is_err() {
                    listening.ear = None;
                }
                heard
            }
        }
    }

    fn rest(&mut self) {
        match &mut self.way {
            Way::Looking(looking) => looking.rest(),
            Way::Listening(listening) => listening.ear = None,
        }
    }

    fn longest_fresh_ttl(&self) -> Option<Duration> {
        match self.way {
            Way::Looking(_) => Some(FRESH_TTL),
            Way::Listening(_) => None,
        }
    }
}

impl fmt::Debug for KnoxFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("KnoxFeed");
        match &self.way {
            Way::Looking(looking) => {
                shown.field("is_listening", &looking.is_listening).field("every", &looking.every)
            }
            Way::Listening(listening) => shown.field("is_listening", &listening.ear.is_some()),
        };
        shown.finish_non_exhaustive()
    }
}
