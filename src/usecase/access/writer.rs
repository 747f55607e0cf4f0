//! What is queued and how it is written; what recorder, worker and guard share.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex, Notify},
    time,
};

use super::{
    queue::{Place, Queue},
    worker,
};
use crate::{
    state::store::DynStore,
    value::{clock::Clock, trace::warn},
};

/// The most rows that one statement writes: every SQL store takes that many parameters.
const STATEMENT_USES: usize = 500;
/// How long one statement may take; it is tried again then, which rule 6 makes harmless.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// What recorder, worker and guard share.
pub(super) struct Writer {
    store: Arc<dyn DynStore>,
    pub(super) clock: Clock,
    pub(super) queue: Queue,
    /// One flush at a time, the worker's or the guard's.
    flushing: Mutex<()>,
    /// Wakes the worker: something was queued.
    pub(super) queued: Notify,
    /// Cuts the worker's pause short: the last recorder is gone.
    pub(super) closing: Notify,
    pub(super) is_closed: AtomicBool,
    /// The store can't write uses: nobody asks it again.
    has_given_up: AtomicBool,
    /// Whether a worker is alive. Invariant: whoever turns it on spawns one, whose end turns it off.
    pub(super) is_working: AtomicBool,
    /// No new worker before this moment of the monotonic clock: one has failed.
    pub(super) resting_until: AtomicU64,
    /// How the latest worker ended.
    pub(super) end: AtomicU8,
    pub(super) counters: Counters,
}

/// Counted since the authenticator was built.
#[derive(Default)]
pub(super) struct Counters {
    /// Rows written.
    written: AtomicU64,
    /// Uses that found the queue full; a later use of the same key takes their place.
    turned_away: AtomicU64,
    /// Uses that were queued and given up for good.
    lost: AtomicU64,
}

impl Counters {
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The store did not write; what was to be written is in the queue again.
#[derive(Debug)]
pub(super) struct NotWritten;

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store did not write the last uses")
    }
}

impl Error for NotWritten {}

impl Writer {
    pub(super) fn new(store: Arc<dyn DynStore>, clock: Clock) -> Self {
        Self {
            store,
            clock,
            queue: Queue::new(),
            flushing: Mutex::new(()),
            queued: Notify::new(),
            closing: Notify::new(),
            is_closed: AtomicBool::new(false),
            has_given_up: AtomicBool::new(false),
            is_working: AtomicBool::new(false),
            resting_until: AtomicU64::new(0),
            end: AtomicU8::new(0),
            counters: Counters::default(),
        }
    }

    /// Takes a place in the queue; counts a use that finds none.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        let place = self.queue.place();
        if place.is_none() {
            count(&self.counters.turned_away, 1);
        }
        place
    }

    /// How many uses are held and not written yet.
    pub(super) fn held(&self) -> usize {
        self.queue.held()
    }

    /// Whether the store said that it can't write uses.
    pub(super) fn has_given_up(&self) -> bool {
        // Relaxed: a late reader queues one use more, which the next flush throws away unasked.
        self.has_given_up.load(Ordering::Relaxed)
    }

    /// Wakes the worker, or starts one. Outside a runtime the use waits for a later one, or for the
    /// guard.
    pub(super) fn rouse(this: &Arc<Self>) {
        // SeqCst, as everywhere on this flag and in `Alive::drop`: cold, and the plain order in
        // which one worker ends and the next begins.
        if this.is_working.load(Ordering::SeqCst) {
            this.queued.notify_one();
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if this.clock.monotonic().as_nanos() < this.resting_until.load(Ordering::SeqCst) {
            return;
        }
        if this.is_working.swap(true, Ordering::SeqCst) {
            this.queued.notify_one();
            return;
        }
        worker::start(this, &runtime);
    }

    /// The last recorder is gone: the worker writes what is left and ends.
    pub(super) fn close(this: &Arc<Self>) {
        this.is_closed.store(true, Ordering::SeqCst);
        if !this.queue.is_empty() {
            Self::rouse(this);
        }
        this.queued.notify_one();
        this.closing.notify_one();
    }

    /// Writes all that waits. Dropped halfway, it puts the rest back.
    pub(super) async fn flush(&self) -> Result<(), NotWritten> {
        let _one_at_a_time = self.flushing.lock().await;
        let mut batch = self.queue.take();
        if self.has_given_up() {
            count(&self.counters.lost, batch.abandon() as u64);
            return Ok(());
        }
        while !batch.next(STATEMENT_USES).is_empty() {
            let uses = batch.next(STATEMENT_USES);
            let count_of = uses.len();
            match time::timeout(STATEMENT_TIMEOUT, self.store.record_uses(uses)).await {
                Ok(Ok(rows)) => {
                    count(&self.counters.written, rows);
                    batch.settle(count_of);
                }
                Ok(Err(error)) if error.is_unsupported() => {
                    count(&self.counters.lost, batch.abandon() as u64);
                    self.give_up(&error);
                    return Ok(());
                }
                Ok(Err(error)) => return Err(not_written(&error)),
                Err(elapsed) => return Err(not_written(&elapsed)),
            }
        }
        Ok(())
    }

    /// Whether there is nothing left to write.
    pub(super) fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }

    /// How the latest worker ended, if one has.
    #[cfg(test)]
    pub(super) fn end(&self) -> Option<worker::End> {
        let end = self.end.load(Ordering::SeqCst);
        use super::worker::End;
        [End::Done, End::Failed, End::Cancelled].into_iter().find(|known| *known as u8 == end)
    }

    /// Gives up what waits, and counts it.
    pub(super) fn lose_the_rest(&self) {
        count(&self.counters.lost, self.queue.take().abandon() as u64);
    }

    fn give_up(&self, error: &dyn Error) {
        if !self.has_given_up.swap(true, Ordering::SeqCst) {
            warn(
                "the store can't write when keys were last used; it will not be asked again",
                error,
            );
        }
    }
}

fn count(counter: &AtomicU64, by: u64) {
    // Relaxed: a statistic that orders nothing.
    counter.fetch_add(by, Ordering::Relaxed);
}

fn not_written(error: &dyn Error) -> NotWritten {
    warn("the last uses of keys could not be written; they are kept and tried again", error);
    NotWritten
}
