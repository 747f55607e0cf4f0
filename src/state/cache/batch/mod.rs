//! Reads that wait for their turn, sent as one.
//!
//! A read that finds a turn free goes alone and at once. The others stand in line; whenever a turn
//! comes free, the first takes it, and along with it those behind it, up to a bound. So nobody ever
//! waits for company: what fills a batch is that the store is slower than the requests come, and the
//! slower it is, the more of them share a query.
//!
//! # Why a batch is of one snap
//! A flight's snap says which revocations its read has surely seen. Every snap in line is older than
//! the query, so that a mixed batch would be sound as well, each flight by its own snap; but only for as
//! long as nobody joins a batch that was sent, and no result is handed from one flight to another. Of
//! one snap a batch is one read like any other, and needs no such argument.
//!
//! # Who drives
//! Each runtime has a line of its own, and a task on it that waits for turns: nobody stands in the line
//! of a runtime that may stand still while theirs goes on. The driving task ends in one of two ways, and
//! nobody is left standing. *Done*: it took the last one out, and the line with it under one lock; who
//! comes next starts another. *Cancelled*: the runtime was shut down, or the task panicked, and those in
//! line are abandoned. A turn that was given to a runtime which stands still, for its line or for a read
//! that is under way on it, comes back when it goes on or ends.
//!
//! # Who keeps the time
//! A flight in line has no task and no timer of its own, which would cost more than its share of a
//! query. It belongs to the line, then to its batch, and whoever it belongs to tells it when its time is
//! over, or drops it: the driver looks after the first in line, and a batch after the oldest of those that
//! it has not told yet. Whose task was long in coming may stand behind younger ones and be told with them;
//! who waits for it gives it up an eighth of the time later (`Cache::wait`).

mod party;
mod query;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::runtime::{Handle, Id};

use super::{
    Cache, ReadError,
    flight::{Lead, Way},
    sync::{Mutex, lock},
};
use crate::value::clock::Monotonic;

/// The most digests of one query: a page of rows, and a statement that stays small.
pub(super) const MOST: usize = 256;

/// Reads that wait in one lane.
pub(super) struct Line {
    state: Mutex<State>,
    most: usize,
}

#[derive(Default)]
struct State {
    /// By runtime, in the order in which they came. Invariant: none of them is empty, and each has a task
    /// on its runtime that drives it, or is about to have one: whoever opened it sees to that.
    lines: HashMap<Id, VecDeque<Lead>>,
    /// How many wait in all of them.
    waiting: usize,
}

/// Who was taken out of a line.
struct Taken {
    leads: Vec<Lead>,
    /// Whether they were the last: then nobody drives that line any more, as there is none.
    was_all: bool,
}

impl Line {
    /// A line of at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { state: Mutex::default(), most }
    }

    /// Takes a place; whether the caller has to have the line driven. The lead comes back when there is
    /// no place.
    fn join(&self, runtime: Id, lead: Lead) -> Result<bool, Lead> {
        let mut state = lock(&self.state);
        if state.waiting >= self.most {
            return Err(lead);
        }
        state.waiting += 1;
        let line = state.lines.entry(runtime).or_default();
        line.push_back(lead);
        Ok(line.len() == 1)
    }

    /// When the first in line began, and how much of its time is left.
    fn first(&self, runtime: Id) -> Option<(Monotonic, Duration)> {
        let state = lock(&self.state);
        let first = state.lines.get(&runtime)?.front()?;
        Some((first.began(), first.time_left()))
    }

    /// Takes out who goes with the next turn: the first, and those behind it that have its snap.
    fn depart(&self, runtime: Id) -> Taken {
        self.take(runtime, |line| {
            let snap = line.front().map(Lead::snap);
            line.iter().take(MOST).take_while(|lead| Some(lead.snap()) == snap).count()
        })
    }

    /// Takes out the first as far as they began at `began` or before it, or have no time left.
    fn expire(&self, runtime: Id, began: Monotonic, now: Monotonic) -> Taken {
        let is_late = |lead: &&Lead| lead.began() <= began || lead.time_left_at(now).is_zero();
        self.take(runtime, |line| line.iter().take_while(is_late).count())
    }

    /// Takes out as many of the first as `count` says.
    fn take(&self, runtime: Id, count: impl FnOnce(&VecDeque<Lead>) -> usize) -> Taken {
        let mut state = lock(&self.state);
        let Some(line) = state.lines.get_mut(&runtime) else {
            return Taken { leads: Vec::new(), was_all: true };
        };
        let leads: Vec<Lead> = line.drain(..count(line)).collect();
        let was_all = line.is_empty();
        if was_all {
            state.lines.remove(&runtime);
        }
        state.waiting -= leads.len();
        Taken { leads, was_all }
    }

    /// Nobody drives any more: takes out whoever is left.
    fn disperse(&self, runtime: Id) -> VecDeque<Lead> {
        let mut state = lock(&self.state);
        let left = state.lines.remove(&runtime).unwrap_or_default();
        state.waiting -= left.len();
        left
    }
}

impl Cache {
    /// Has a flight wait for its turn on a runtime, and be read together with others that do. It lands as
    /// [overloaded](ReadError::Overloaded) when too many wait.
    pub(super) fn stand_in_line(self: Arc<Self>, way: Way, lead: Lead, runtime: &Handle) {
        match self.lanes.line(way).join(runtime.id(), lead) {
            Ok(true) => query::drive(self, way, runtime),
            Ok(false) => {}
            Err(lead) => lead.answer(Err(ReadError::Overloaded)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::runtime;

    use super::*;
    use crate::{
        state::{
            cache::{CacheSettings, Demand},
            store::MemoryStore,
        },
        value::{
            clock::Clock,
            digest::{DigestAlgorithm, TokenDigest},
            meter::Meter,
        },
    };

    fn cache() -> Arc<Cache> {
        let settings = CacheSettings {
            capacity: 4,
            absent_capacity: 4,
            fresh_ttl: Duration::from_secs(10),
            absent_ttl: Duration::from_secs(10),
            stale_if_error: Duration::ZERO,
            short_ttl: None,
            store_timeout: Duration::from_secs(2),
            max_in_flight: 2,
            reserved_in_flight: 1,
            max_waiting: 8,
        };
        let store = Arc::new(MemoryStore::new());
        Arc::new(Cache::new(store, Clock::system(), &settings, Meter::default()))
    }

    /// A runtime may come and go a thousand times: its lines go with it.
    ///
    /// Seen to fail without the driver's drop guard, and with the lines of one that is done kept.
    #[test]
    fn a_line_goes_with_its_runtime_and_when_it_is_empty() {
        let cache = cache();
        for is_shut_down in [true, false] {
            let turn = cache.lanes.turn_now(false).unwrap();
            let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let asked = ["a", "b", "c"].map(|token| {
                let digest = TokenDigest::of(DigestAlgorithm::Sha256, token);
                let cache = Arc::clone(&cache);
                runtime.spawn(async move { cache.fetch(digest, Demand::Current).await })
            });
            let settle = async {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            };
            runtime.block_on(settle);
            let line = cache.lanes.line(Way::Common);
            assert_eq!(lock(&line.state).waiting, 3);
            if is_shut_down {
                drop(runtime);
            } else {
                drop(turn);
                let emptied = async {
                    while !lock(&line.state).lines.is_empty() {
                        tokio::task::yield_now().await;
                    }
                };
                let limit = Duration::from_secs(30);
                let emptied = async { tokio::time::timeout(limit, emptied).await };
                runtime.block_on(emptied).expect("the driver goes on");
                for asked in asked {
                    let found = runtime.block_on(asked).unwrap();
                    assert!(found.is_ok_and(|slot| slot.record().is_none()));
                }
            }
            assert_eq!(lock(&line.state).waiting, 0);
            assert!(lock(&line.state).lines.is_empty());
        }
    }
}
