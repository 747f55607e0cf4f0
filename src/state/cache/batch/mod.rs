//! Reads that wait for their turn, sent as one.
//!
//! A read that finds a turn free goes alone and at once. The others stand in line; whenever a turn
//! comes free, the oldest takes it, and along with it those behind it, up to a bound. So nobody ever
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
//! Each runtime has a line of its own, and a task on it that waits for turns: nobody depends on a
//! runtime that may stand still while theirs goes on. That task ends in one of two ways, and nobody is
//! left standing. *Done*: the line is empty; who comes next starts another. *Cancelled*: the runtime was
//! shut down, and those in line with it.

mod query;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use tokio::{
    runtime::{Handle, Id},
    sync::oneshot,
};

use super::{
    Cache, ReadError,
    fence::Snap,
    flight::Way,
    sync::{Mutex, lock},
};
use crate::value::{clock::Monotonic, digest::TokenDigest, key::Record};

/// The most digests of one query: a page of rows, and a statement that stays small.
pub(super) const MOST: usize = 256;

/// What a read told of one digest.
pub(super) type Answer = Result<Option<Record>, ReadError>;

/// When the store was asked for a read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Monotonic,
    /// Whether for this read alone.
    pub(super) is_alone: bool,
}

/// A read that waits for its turn.
pub(super) struct Waiting {
    digest: TokenDigest,
    snap: Snap,
    began: Monotonic,
    /// Set when the store is asked.
    asked: Arc<OnceLock<Asked>>,
    answer: oneshot::Sender<Answer>,
}

impl Waiting {
    /// A read with the snap and the time of its flight, and where its answer comes.
    pub(super) fn new(
        digest: TokenDigest,
        snap: Snap,
        began: Monotonic,
        asked: &Arc<OnceLock<Asked>>,
    ) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, comes) = oneshot::channel();
        (Self { digest, snap, began, asked: Arc::clone(asked), answer }, comes)
    }
}

/// Reads that wait in one lane.
pub(super) struct Line {
    state: Mutex<State>,
    most: usize,
}

#[derive(Default)]
struct State {
    /// By runtime. Invariant: as long as a runtime is among them, a task on it drives.
    lines: HashMap<Id, Queue>,
    /// How many wait in all of them.
    waiting: usize,
    next: u64,
}

/// By number, so that the oldest are first.
type Queue = BTreeMap<u64, Waiting>;

impl Line {
    /// A line of at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { state: Mutex::default(), most }
    }

    /// Takes a place; answers with it, and whether the caller has to have it driven. `None` when there
    /// is none.
    fn join(&self, runtime: Id, waiting: Waiting) -> Option<(Place<'_>, bool)> {
        let mut state = lock(&self.state);
        if state.waiting >= self.most {
            return None;
        }
        state.waiting += 1;
        state.next += 1;
        let number = state.next;
        let is_driven = state.lines.contains_key(&runtime);
        state.lines.entry(runtime).or_default().insert(number, waiting);
        Some((Place { line: self, runtime, number }, !is_driven))
    }

    /// Takes out who goes with the next turn: the oldest, and those with its snap. Nobody drives any
    /// more if there is nobody.
    fn depart(&self, runtime: Id) -> Vec<Waiting> {
        let mut state = lock(&self.state);
        let queue = state.lines.entry(runtime).or_default();
        let Some((_, oldest)) = queue.first_key_value() else {
            state.lines.remove(&runtime);
            return Vec::new();
        };
        let snap = oldest.snap;
        let with_it = queue.iter().filter(|(_, waiting)| waiting.snap == snap);
        let numbers: Vec<u64> = with_it.map(|(number, _)| *number).take(MOST).collect();
        let batch: Vec<Waiting> = numbers.iter().filter_map(|n| queue.remove(n)).collect();
        state.waiting -= batch.len();
        batch
    }

    /// Nobody drives any more: takes out whoever is left.
    fn disperse(&self, runtime: Id) -> Queue {
        let mut state = lock(&self.state);
        let left = state.lines.remove(&runtime).unwrap_or_default();
        state.waiting -= left.len();
        left
    }
}

/// A place in line, given up when it is dropped.
struct Place<'a> {
    line: &'a Line,
    runtime: Id,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.line.state);
        // Without effect once it has departed.
        let queue = state.lines.get_mut(&self.runtime);
        let left = queue.and_then(|queue| queue.remove(&self.number));
        state.waiting -= usize::from(left.is_some());
        // Its sender goes without the lock.
        drop(state);
        drop(left);
    }
}

impl Cache {
    /// Stands in line until the read was made; `None` if whoever was to make it is gone. Dropped, it
    /// leaves the line, or has the batch read in vain.
    ///
    /// # Panics
    /// Outside a runtime.
    pub(super) async fn read_in_line(
        self: &Arc<Self>,
        way: Way,
        waiting: Waiting,
        answer: oneshot::Receiver<Answer>,
    ) -> Result<Option<Answer>, ReadError> {
        let runtime = Handle::current().id();
        let line = self.lanes.line(way);
        let (place, must_drive) = line.join(runtime, waiting).ok_or(ReadError::Overloaded)?;
        if must_drive {
            query::drive(Arc::clone(self), way);
        }
        let answer = answer.await.ok();
        drop(place);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::runtime;

    use super::*;
    use crate::{
        state::{cache::CacheSettings, store::MemoryStore},
        value::{clock::Clock, digest::DigestAlgorithm, meter::Meter},
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
            for token in ["a", "b", "c"] {
                let digest = TokenDigest::of(DigestAlgorithm::Sha256, token);
                let now = cache.clock.monotonic();
                let (waiting, answer) =
                    Waiting::new(digest, cache.fence.snap(), now, &Arc::default());
                let cache = Arc::clone(&cache);
                runtime.spawn(async move {
                    let told = cache.read_in_line(Way::Common, waiting, answer).await;
                    assert!(matches!(told, Ok(Some(Ok(None)))));
                });
            }
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
            }
            assert_eq!(lock(&line.state).waiting, 0);
            assert!(lock(&line.state).lines.is_empty());
        }
    }
}
