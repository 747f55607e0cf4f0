//! What happened in the stores, in order, and what both of them have in common.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::sync::{Mutex as Turn, Notify};
use tower_token_auth::{ApiKey, KeyId, Owner, OwnerId, TokenDigest, store::KeyWrite};

use crate::step::{End, Made, Process};

/// What happened in the stores, each with its place in their common order.
#[derive(Clone, Debug)]
pub enum Event {
    /// A read landed. It looked when `from` to `to` changes had been made, at this time.
    Read {
        by: Process,
        digest: TokenDigest,
        look: Look,
    },
    Write(Write),
    /// A commit arrived whose answer had been lost.
    Landed {
        at: u64,
    },
}

/// When a read looked: between these two places in the order, at this time.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub from: u64,
    pub to: u64,
    pub millis: u64,
    /// Its place among the beginnings and the ends of reads.
    pub begun: u64,
    /// And that of its end; of one that has not ended, behind all others.
    pub ended: u64,
}

/// One change that was asked of a store.
#[derive(Clone, Debug)]
pub struct Write {
    pub at: u64,
    pub by: Process,
    /// By a manager's own call, and not to repair one.
    pub by_manager: bool,
    pub what: What,
    pub became: Became,
}

impl Write {
    pub fn is_lost(&self) -> bool {
        matches!(self.became, Became::Lost(..) | Became::Unreachable)
    }
}

#[derive(Clone, Debug)]
pub enum What {
    Insert(ApiKey),
    /// The keys that were asked about, and what the plan answered.
    Change(Vec<KeyId>, Vec<KeyWrite>),
    /// What the edit answered.
    Owner(OwnerId, Option<Owner>),
    Uses(KeyId),
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// Made, and the caller was told.
    Told,
    /// Not made, and the caller was told.
    Refused,
    /// The store could not be reached.
    Unreachable,
    /// Its answer was lost.
    Lost(Made, End),
}

/// What both processes' stores have in common.
#[derive(Default)]
pub struct Common {
    /// How many changes there were: the place of the last one in the order.
    order: AtomicU64,
    /// The time that has passed, in milliseconds.
    pub millis: AtomicU64,
    pub(super) log: Mutex<Vec<Event>>,
    pub(super) limbo: Mutex<Option<Limbo>>,
    /// Held by whoever writes, so that the log's order is the store's.
    pub(super) writing: Turn<()>,
    /// Calls that are under way, and will end by themselves.
    busy: AtomicUsize,
    /// Calls that were begun.
    begun: AtomicUsize,
    quiet: Notify,
    pub(super) reads: AtomicUsize,
    /// The beginnings and ends of reads.
    turns: AtomicU64,
}

/// A change that was decided on and not yet committed. It holds the store's lock: nothing is
/// written before it.
pub(super) enum Limbo {
    Change(KeyId, Vec<KeyWrite>),
    Insert(Box<ApiKey>, Owner),
    Owner(Owner),
}

impl Common {
    /// The next place in the order.
    pub fn next(&self) -> u64 {
        self.order.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The place of the last change.
    pub fn last(&self) -> u64 {
        self.order.load(Ordering::SeqCst)
    }

    pub fn drain(&self) -> Vec<Event> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    pub fn has_limbo(&self) -> bool {
        self.limbo.lock().unwrap().is_some()
    }

    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) > 0
    }

    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// How many reads the stores answered.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Waits until no call is under way.
    pub async fn rest(&self) {
        loop {
            let quiet = self.quiet.notified();
            if !self.is_busy() {
                return;
            }
            quiet.await;
        }
    }

    pub(super) fn turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn note(&self, event: Event) {
        self.log.lock().unwrap().push(event);
    }

    pub(super) fn now(&self) -> u64 {
        self.millis.load(Ordering::SeqCst)
    }
}

/// A call that is under way.
pub(super) struct Busy<'a>(&'a Common);

impl<'a> Busy<'a> {
    pub(super) fn begin(common: &'a Common) -> Self {
        common.busy.fetch_add(1, Ordering::SeqCst);
        common.begun.fetch_add(1, Ordering::SeqCst);
        Self(common)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if self.0.busy.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}
