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
//! Who drives ends in one of two ways, and nobody is left standing. *Done*: the line is empty; who
//! comes next drives. *Cancelled*: its runtime was shut down; those in line are told that nobody reads
//! for them, and begin again on their own runtimes.

mod query;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use tokio::sync::oneshot;

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

/// Reads in the order in which they came.
pub(super) struct Line {
    state: Mutex<State>,
    most: usize,
}

#[derive(Default)]
struct State {
    /// By number, so that the oldest are first.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// Whether somebody waits for a turn on behalf of the line. Invariant: as long as anybody is in
    /// line, somebody drives.
    is_driven: bool,
}

impl Line {
    /// A line of at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { state: Mutex::default(), most }
    }

    fn state(&self) -> super::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes out who goes with the next turn: the oldest, and those with its snap. Nobody drives any
    /// more if there is nobody.
    fn depart(&self) -> Vec<Waiting> {
        let mut state = self.state();
        let Some((_, oldest)) = state.waiting.first_key_value() else {
            state.is_driven = false;
            return Vec::new();
        };
        let snap = oldest.snap;
        let with_it = state.waiting.iter().filter(|(_, waiting)| waiting.snap == snap);
        let numbers: Vec<u64> = with_it.map(|(number, _)| *number).take(MOST).collect();
        numbers.iter().filter_map(|number| state.waiting.remove(number)).collect()
    }
}

/// A place in line, given up when it is dropped.
struct Place<'a> {
    line: &'a Line,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Without effect once it has departed.
        let left = self.line.state().waiting.remove(&self.number);
        drop(left);
    }
}

impl Cache {
    /// Stands in line until the read was made; `None` if whoever was to make it is gone. To be called
    /// on a runtime. Dropped, it leaves the line, or has the batch read in vain.
    pub(super) async fn read_in_line(
        self: &Arc<Self>,
        way: Way,
        waiting: Waiting,
        answer: oneshot::Receiver<Answer>,
    ) -> Result<Option<Answer>, ReadError> {
        let line = self.lanes.line(way);
        let (place, must_drive) = {
            let mut state = line.state();
            if state.waiting.len() >= line.most {
                return Err(ReadError::Overloaded);
            }
            let number = state.next;
            state.next += 1;
            state.waiting.insert(number, waiting);
            let must_drive = !std::mem::replace(&mut state.is_driven, true);
            (Place { line, number }, must_drive)
        };
        if must_drive {
            query::drive(Arc::clone(self), way);
        }
        let answer = answer.await.ok();
        drop(place);
        Ok(answer)
    }
}
