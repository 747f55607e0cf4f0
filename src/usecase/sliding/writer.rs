//! Writes renewals; what those who note them, the worker and the guard share.

use std::{
    slice,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{
    runtime::Handle,
    sync::{Mutex, Notify},
};

use super::{
    book::{Book, Renewal},
    worker,
};
use crate::{
    state::{cache::Cache, store::DynRepository},
    usecase::maintenance::{Failure, Settler},
    value::{clock::Clock, key::Slide, subject::Subject, trace::warn},
};

/// The most keys of one transaction: others wait for it some milliseconds.
const BATCH: usize = 64;

/// What those who note renewals, the worker and the guard share.
pub(super) struct Writer {
    pub(super) repository: Arc<dyn DynRepository>,
    pub(super) cache: Arc<Cache>,
    pub(super) settler: Arc<Settler>,
    pub(super) clock: Clock,
    pub(super) slide: Slide,
    pub(super) book: Book,
    /// One round at a time, the worker's or the guard's.
    writing: Mutex<()>,
    /// Wakes the worker: something was noted.
    pub(super) noted: Notify,
    /// Cuts the worker's pause short: the authenticator is gone.
    pub(super) closing: Notify,
    pub(super) is_closed: AtomicBool,
    /// The store can't write expiries: nobody asks it again.
    has_given_up: AtomicBool,
    /// Whether a worker is alive. Invariant: whoever turns it on spawns one, whose end turns it off.
    pub(super) is_working: AtomicBool,
    pub(super) counters: Counters,
}

/// Counted since the authenticator was built. Relaxed: statistics that order nothing.
#[derive(Default)]
pub(super) struct Counters {
    /// Rows written.
    pub(super) written: AtomicU64,
    /// Uses that found no room; a later use of the same key takes their place.
    pub(super) turned_away: AtomicU64,
    /// Renewals of rows that were not as they were read, or are not to be renewed.
    pub(super) overtaken: AtomicU64,
    /// Renewals that could not be written for too long, or not at all.
    pub(super) given_up: AtomicU64,
}

impl Writer {
    pub(super) fn new(
        repository: Arc<dyn DynRepository>,
        cache: Arc<Cache>,
        settler: Arc<Settler>,
        clock: Clock,
        slide: Slide,
    ) -> Self {
        Self {
            repository,
            cache,
            settler,
            clock,
            slide,
            book: Book::default(),
            writing: Mutex::new(()),
            noted: Notify::new(),
            closing: Notify::new(),
            is_closed: AtomicBool::new(false),
            has_given_up: AtomicBool::new(false),
            is_working: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// Whether the store said that it can't write expiries.
    pub(super) fn has_given_up(&self) -> bool {
        // Relaxed: a late reader notes one renewal more, which the next round throws away unasked.
        self.has_given_up.load(Ordering::Relaxed)
    }

    /// Wakes the worker, or starts one. Outside a runtime the renewal waits for a later one, or for
    /// the guard.
    pub(super) fn rouse(this: &Arc<Self>) {
        // SeqCst, as everywhere on this flag and in `Alive::drop`: cold, and the plain order in
        // which one worker ends and the next begins.
        if this.is_working.load(Ordering::SeqCst) {
            this.noted.notify_one();
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if this.is_working.swap(true, Ordering::SeqCst) {
            this.noted.notify_one();
            return;
        }
        worker::start(this, &runtime);
    }

    /// The authenticator is gone: the worker writes what is left and ends.
    pub(super) fn close(this: &Arc<Self>) {
        this.is_closed.store(true, Ordering::SeqCst);
        if !this.book.is_empty() {
            Self::rouse(this);
        }
        this.noted.notify_one();
        this.closing.notify_one();
    }

    /// Tries once to write all that waits, and gives up what has waited for too long. Dropped
    /// halfway, it leaves the rest waiting.
    ///
    /// # Panics
    /// Outside a runtime.
    pub(super) async fn round(self: &Arc<Self>) -> Result<(), Failure> {
        let _one_at_a_time = self.writing.lock().await;
        let waiting = self.book.waiting();
        let outcome = self.write_all(&waiting).await;
        match &outcome {
            Err(failure) if is_for_good(failure) => {
                if !self.has_given_up.swap(true, Ordering::SeqCst) {
                    warn("the store can't move expiries on; it will not be asked again", failure);
                }
                self.lose_the_rest();
                return Ok(());
            }
            Err(_) => {
                let now = self.clock.monotonic();
                self.book
                    .waiting()
                    .iter()
                    .filter(|r| r.is_overdue(now))
                    .for_each(|r| self.give_up(r));
            }
            Ok(()) => {}
        }
        outcome
    }

    async fn write_all(self: &Arc<Self>, waiting: &[Renewal]) -> Result<(), Failure> {
        let mut failed = None;
        for batch in waiting.chunks(BATCH) {
            let Err(failure) = self.attempt(batch).await else { continue };
            if !is_of_the_rows(&failure) {
                return Err(failure);
            }
            // One row that can't be written holds up no other, and says nothing about the others: only
            // a store that has never written any is believed to write none.
            let has_written = || self.counters.written.load(Ordering::Relaxed) > 0;
            if let [renewal] = batch
                && is_for_good(&failure)
            {
                if !has_written() {
                    return Err(failure);
                }
                self.give_up(renewal);
                continue;
            }
            let mut refused = Vec::new();
            for renewal in batch.iter().filter(|_| batch.len() > 1) {
                match self.attempt(slice::from_ref(renewal)).await {
                    Err(failure) if is_for_good(&failure) => refused.push((renewal, failure)),
                    Err(failure) if !is_of_the_rows(&failure) => return Err(failure),
                    Err(failure) => failed = Some(failure),
                    Ok(()) => {}
                }
            }
            if !has_written()
                && let Some((_, failure)) = refused.pop()
            {
                return Err(failure);
            }
            refused.iter().for_each(|(renewal, _)| self.give_up(renewal));
            failed = failed.or_else(|| (batch.len() == 1).then_some(failure));
        }
        failed.map_or(Ok(()), Err)
    }

    /// Commit, then outdate, then let go: who finds it let go finds what is stored.
    pub(super) fn stored(&self, renewal: &Renewal) {
        let Renewal { key, digest, from, to, .. } = renewal;
        self.cache.expiry_settled(*key, digest, [*from, *to], *to);
        self.book.stored(renewal, self.clock.monotonic());
    }

    /// Lets go, then outdates: who reads the row anew is not judged by the renewal any more.
    pub(super) fn overtaken(&self, renewal: &Renewal, for_good: bool) {
        self.counters.overtaken.fetch_add(1, Ordering::Relaxed);
        if for_good {
            self.book.refused(renewal);
        } else {
            self.book.given_up(renewal);
        }
        self.cache.revoke(&[Subject::Key(renewal.key)]);
    }

    /// From here on the key is judged by its stored expiry, without being read anew: a store that
    /// can't write may not be read either.
    fn give_up(&self, renewal: &Renewal) {
        if self.book.given_up(renewal) {
            self.counters.given_up.fetch_add(1, Ordering::Relaxed);
            let Renewal { key, digest, from, to, .. } = renewal;
            self.cache.expiry_settled(*key, digest, [*from, *to], *from);
        }
    }

    pub(super) fn lose_the_rest(&self) {
        self.book.waiting().iter().for_each(|renewal| self.give_up(renewal));
    }
}

/// Whether it is about the rows that were to be written, so that others may fare better.
fn is_of_the_rows(failure: &Failure) -> bool {
    matches!(failure, Failure::Store(error) if !error.is_unavailable())
}

fn is_for_good(failure: &Failure) -> bool {
    matches!(failure, Failure::Store(error) if error.is_unsupported())
}
