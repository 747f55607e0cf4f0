//! Writes what was queued: one task at a time, started when there is something to write.
//!
//! A worker sleeps until a use is queued, lets a flush interval pass so that others gather, and
//! writes them all. It ends in one of three ways. *Done*: the last recorder is gone, and what it
//! left is written, or was tried three times. *Failed*: the store panicked, or the runtime has no
//! timers; what was being written goes back to the queue, and a rest passes before another worker
//! starts. *Cancelled*: its runtime was shut down; what was being written goes back too, and the
//! next use, wherever it is seen, starts another worker.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use tokio::{runtime::Handle, time};

use super::writer::{NotWritten, Writer};

/// How long uses gather before they are written: what a crash may lose at most.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause between tries: a store that came back is noticed within a minute.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// How often the last uses are tried when nobody is left who could wait for them.
const LAST_TRIES: u32 = 3;

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum End {
    Done = 1,
    Failed = 2,
    Cancelled = 3,
}

/// Starts a worker. Whoever calls has turned `is_working` on.
pub(super) fn start(writer: &Arc<Writer>, runtime: &Handle) {
    let alive = Alive { writer: Arc::clone(writer), end: End::Cancelled };
    // A runtime that is shutting down drops the task, and `alive` with it, within this call.
    drop(runtime.spawn(work(alive)));
}

/// The pause before the next try, after so many that failed.
pub(super) fn pause_after(failures: u32) -> Duration {
    FLUSH_INTERVAL.saturating_mul(2_u32.saturating_pow(failures)).min(MAX_PAUSE)
}

async fn work(mut alive: Alive) {
    let writer = Arc::clone(&alive.writer);
    let mut failures = 0;
    loop {
        while writer.queue.is_empty() {
            if writer.is_closed.load(Ordering::SeqCst) {
                alive.end = End::Done;
                return;
            }
            // `notify_one` leaves a permit behind when nobody waits, so nothing is missed between
            // the look above and this line.
            writer.queued.notified().await;
        }
        // Either the pause passes or the end is announced: both mean that it is time to write.
        let _ = time::timeout(pause_after(failures), writer.closing.notified()).await;
        failures = match writer.flush().await {
            Ok(()) => 0,
            Err(NotWritten) => failures.saturating_add(1),
        };
        if failures >= LAST_TRIES && writer.is_closed.load(Ordering::SeqCst) {
            writer.lose_the_rest();
        }
    }
}

/// Travels with the worker and says, however it ends, that it is gone.
struct Alive {
    writer: Arc<Writer>,
    end: End,
}

impl Drop for Alive {
    fn drop(&mut self) {
        let end = if thread::panicking() { End::Failed } else { self.end };
        if end == End::Failed {
            let rest = self.writer.clock.monotonic().after(MAX_PAUSE);
            self.writer.resting_until.store(rest.as_nanos(), Ordering::SeqCst);
        }
        self.writer.end.store(end as u8, Ordering::SeqCst);
        self.writer.is_working.store(false, Ordering::SeqCst);
    }
}
