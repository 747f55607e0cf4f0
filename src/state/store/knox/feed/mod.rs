//! The revocation feed of an existing Django's database: it looks again, and again, at the keys that were
//! used lately.
//!
//! Django's tables keep no log of what was changed, and knox's have no column that tells when. So the
//! store notes what it finds, and the feed reads it again, many keys in one query: a key that is gone, or
//! that stands otherwise than it did, is told.

mod seen;
mod together;
mod wake;
mod watchers;

use std::{fmt, sync::Arc, time::Duration};

pub(super) use self::watchers::Watchers;
use self::{seen::Seen, together::together, wake::Wake};
use super::{
    super::{
        error::StoreError,
        feed::{Heard, RevocationFeed},
    },
    KnoxStore,
    dialect::Dialect,
};
use crate::value::digest::{DigestAlgorithm, TokenDigest};

/// How often it looks by default: a SQLite file whether it was written to, which costs next to nothing;
/// a server at all keys that were used lately.
const EVERY_OF_A_FILE: Duration = Duration::from_millis(100);
const EVERY_OF_A_SERVER: Duration = Duration::from_secs(1);
/// The longest fresh TTL it can serve.
const FRESH_TTL: Duration = Duration::from_secs(10);
/// For how long a key is looked at that is not found again: half as long again as it can be cached.
const MEMORY: Duration = Duration::from_secs(15);
/// How many keys are read in one query.
const AT_ONCE: usize = 256;
/// How many queries are under way at a time; half of the pool's connections, as it is by default.
const TOGETHER: usize = 4;

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
/// 3. On a server each look costs a query for 256 keys in use, four at a time, on connections of the
///    store's pool.
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
    seen: Arc<Seen>,
    every: Duration,
    is_listening: bool,
    wake: Option<Wake>,
    /// The probe to be answered by the look that begins next.
    asked: Option<u64>,
    look: Option<Look>,
}

/// A look under way. It is kept here, so that whoever stops hearing loses nothing.
struct Look {
    todo: Vec<TokenDigest>,
    answers: Option<u64>,
}

impl KnoxStore {
    /// A feed that hears of changes made elsewhere, for the one authenticator that is built over this
    /// store. Nothing is asked before it listens.
    #[must_use]
    pub fn feed(&self) -> KnoxFeed {
        let every = match self.pool.dialect() {
            Dialect::Sqlite => EVERY_OF_A_FILE,
            Dialect::Postgres | Dialect::MySql => EVERY_OF_A_SERVER,
        };
        KnoxFeed {
            store: self.clone(),
            seen: Arc::new(Seen::new(looks(every))),
            every,
            is_listening: false,
            wake: None,
            asked: None,
            look: None,
        }
    }
}

impl KnoxFeed {
    /// Sets how often it looks, between 10 ms and 2 s. A change made elsewhere holds that much later at
    /// most.
    #[must_use]
    pub fn look_every(mut self, span: Duration) -> Self {
        self.every = span.clamp(Duration::from_millis(10), Duration::from_secs(2));
        self.seen = Arc::new(Seen::new(looks(self.every)));
        self
    }

    async fn begin(&mut self) -> Result<Look, StoreError> {
        let has_changed = match &mut self.wake {
            Some(wake) => wake.has_changed().await?,
            None => true,
        };
        // No await behind the question: a look that was dropped would have taken its answer along.
        Ok(Look { todo: self.seen.begin(has_changed), answers: self.asked.take() })
    }
}

/// How many looks there are in the time for which a key is looked at, with those that probes ask for.
fn looks(every: Duration) -> u64 {
    u64::try_from(2 * MEMORY.as_millis() / every.as_millis().max(1)).unwrap_or(u64::MAX)
}

impl RevocationFeed for KnoxFeed {
    async fn listen(&mut self) -> Result<(), StoreError> {
        self.is_listening = false;
        (self.look, self.asked) = (None, None);
        // What is found from here on is noted; all that was read before is outdated.
        self.seen.forget();
        self.store.watchers.add(&self.seen);
        self.wake = Wake::of(&self.store.pool).await?;
        // One that nobody has: whether it can look at all.
        let nobody = TokenDigest::of(DigestAlgorithm::Sha512, "");
        self.store.find_again(&[nobody]).await?;
        self.is_listening = true;
        Ok(())
    }

    async fn probe(&mut self, nonce: u64) -> Result<(), StoreError> {
        self.asked = Some(nonce);
        Ok(())
    }

    async fn next(&mut self) -> Result<Heard, StoreError> {
        if !self.is_listening {
            return Err(StoreError::unusable("this feed does not listen, as it failed before"));
        }
        loop {
            if let Some(heard) = self.seen.changed() {
                return Ok(heard);
            }
            let Some(look) = &mut self.look else {
                if self.asked.is_none() {
                    tokio::time::sleep(self.every).await;
                }
                self.look = Some(self.begin().await?);
                continue;
            };
            let left = look.todo.len().saturating_sub(TOGETHER * AT_ONCE);
            let part = &look.todo[left..];
            if part.is_empty() {
                let answers = look.answers;
                self.look = None;
                match answers {
                    Some(nonce) => return Ok(Heard::Alive(nonce)),
                    None => continue,
                }
            }
            let reads = part.chunks(AT_ONCE).map(|part| self.store.find_again(part));
            let found = together(reads).await?;
            self.seen.compare(part, &found);
            look.todo.truncate(left);
        }
    }

    fn rest(&mut self) {
        (self.look, self.wake) = (None, None);
        self.is_listening = false;
    }

    fn longest_fresh_ttl(&self) -> Option<Duration> {
        Some(FRESH_TTL)
    }
}

impl fmt::Debug for KnoxFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnoxFeed")
            .field("is_listening", &self.is_listening)
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}
