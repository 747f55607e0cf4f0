//! The revocation feed of a SQLite file: a change log, and a connection that looks whether it grew.
//!
//! `PRAGMA data_version` moves with every commit of another connection, ours or anybody's, so that
//! it serves as a wake-up alone. What changed stands in the log, which triggers keep on the columns
//! that a revocation can change: a flush of last uses wakes the feed up and tells nothing.
//!
//! # What counts as a gap
//! 1. The row at which the feed stands is gone, or is another row: the log was pruned or emptied, or
//!    the database was restored.
//! 2. Rows are missing behind it, or one can't be read.
//! 3. The log's epoch changed: it was made anew.
//! 4. The schema changed. Its version is compared at every look, so that triggers which were dropped
//!    and made again between two looks are noticed; once per gap they are compared with what they
//!    should be, and put right where that may be written.
//! 5. Another file stands in the place of this one, or none.

mod ear;
mod standing;

use std::{collections::VecDeque, fmt, time::Duration};

use self::ear::Ear;
use super::{
    super::{
        error::StoreError,
        feed::{Heard, RevocationFeed},
    },
    SqliteStore,
};

/// How often it is looked whether anything changed: a change made elsewhere holds a tenth of a
/// second later at most, and ten looks a second are next to nothing.
const EVERY: Duration = Duration::from_millis(100);

/// Hears of changes that other processes make to a SQLite database, whatever program makes them.
/// [`SqliteStore::feed`] makes it; `AuthenticatorBuilder::feed` takes it.
///
/// # Rules
/// 1. It has one connection of its own and writes nothing with it. A read-only role can listen if
///    the triggers are there; one that may write puts them right if they are not.
/// 2. If another file is put in the place of the database's, the store's own connections are made
///    anew. A [pool of the user's](SqliteStore::from_pool) can't be: the store on it then answers
///    that it is unavailable.
/// 3. A database in memory has no other process, and no feed: this one then stays unhealthy and says
///    so.
pub struct SqliteFeed {
    store: SqliteStore,
    every: Duration,
    ear: Option<Ear>,
    /// What was taken in and not told yet.
    heard: VecDeque<Heard>,
    /// The probe that is to be answered after the next look.
    asked: Option<u64>,
}

impl SqliteStore {
    /// A feed that hears of changes made by other processes on this database, for one
    /// authenticator. Nothing is opened before it listens.
    #[must_use]
    pub fn feed(&self) -> SqliteFeed {
        SqliteFeed {
            store: self.clone(),
            every: EVERY,
            ear: None,
            heard: VecDeque::new(),
            asked: None,
        }
    }
}

impl SqliteFeed {
    /// Sets how often it is looked whether anything changed, between a millisecond and a second; 100 ms
    /// by default. A change made elsewhere holds that much later at most.
    #[must_use]
    pub fn look_every(mut self, span: Duration) -> Self {
        self.every = span.clamp(Duration::from_millis(1), Duration::from_secs(1));
        self
    }

    /// Takes in what is new. Dropped at its await, it has taken nothing.
    async fn look(&mut self) -> Result<Look, StoreError> {
        if self.store.pools.is_closed() {
            self.ear = None;
            return Err(StoreError::unusable("the store of this feed was closed"));
        }
        let ear = self.ear.as_mut().ok_or_else(|| {
            StoreError::unusable("this feed does not listen, as it failed before")
        })?;
        let look = ear.look(self.asked.is_some()).await?;
        if let Look::Heard { news, has_more } = &look {
            self.heard.extend(news.clone());
            if let Some(nonce) = self.asked.take_if(|_| !has_more) {
                self.heard.push_back(Heard::Alive(nonce));
            }
        }
        Ok(look)
    }
}

/// What a look at the database found.
enum Look {
    /// The log, up to some row.
    Heard { news: Option<Heard>, has_more: bool },
    /// Nobody has committed anything.
    Quiet,
    /// Somebody holds a lock; the next look will tell.
    Locked,
}

impl RevocationFeed for SqliteFeed {
    async fn listen(&mut self) -> Result<(), StoreError> {
        self.ear = None;
        self.asked = None;
        self.heard.clear();
        self.ear = Some(Ear::open(&self.store).await?);
        Ok(())
    }

    async fn probe(&mut self, nonce: u64) -> Result<(), StoreError> {
        self.asked = Some(nonce);
        Ok(())
    }

    async fn next(&mut self) -> Result<Heard, StoreError> {
        // A probe is worth an immediate look, and so is a log that was not read to its end.
        let mut is_urgent = self.asked.is_some();
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(heard);
            }
            if !is_urgent {
                tokio::time::sleep(self.every).await;
            }
            is_urgent = matches!(self.look().await?, Look::Heard { has_more: true, .. });
        }
    }
}

impl fmt::Debug for SqliteFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteFeed")
            .field("is_listening", &self.ear.is_some())
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}
