//! Writes what was noted: one task at a time, started when there is something to write.
//!
//! A worker sleeps until a renewal is noted and writes it at once, as other processes judge by what is
//! stored; those that are noted meanwhile gather. It ends in one of two ways. *Done*: the authenticator
//! is gone, and what it left is written, or was tried three times. *Cancelled*: its runtime was shut
//! down, or has no timers; what waits goes on waiting, and the next use that renews a key starts another
//! worker.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{runtime::Handle, time};

use super::writer::Writer;
use crate::value::trace::warn;

/// The first pause between tries; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest: a store that came back is noticed within it.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How often the last renewals are tried when no authenticator is left.
const LAST_TRIES: u32 = 3;

/// Starts a worker. Whoever calls has turned `is_working` on.
pub(super) fn start(writer: &Arc<Writer>, runtime: &Handle) {
    let alive = Alive(Arc::clone(writer));
    // A runtime that is shutting down drops the task, and `alive` with it, within this call.
    drop(runtime.spawn(work(alive)));
}

/// The pause before the next try, after so many that failed.
fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures - 1)).min(MAX_PAUSE)
}

async fn work(alive: Alive) {
    let writer = &alive.0;
    let mut failures = 0;
    loop {
        while writer.book.is_empty() {
            if writer.is_closed.load(Ordering::SeqCst) {
                return;
            }
            // `notify_one` leaves a permit behind when nobody waits, so nothing is missed between
            // the look above and this line.
            writer.noted.notified().await;
        }
        let Err(failure) = writer.round().await else {
            failures = 0;
            continue;
        };
        if failures == 0 {
            warn(
                "expiries that keys' uses moved on could not be written; they are tried again",
                &failure,
            );
        }
        failures += 1;
        if failures >= LAST_TRIES && writer.is_closed.load(Ordering::SeqCst) {
            writer.lose_the_rest();
            continue;
        }
        let _ = time::timeout(pause_after(failures), writer.closing.notified()).await;
    }
}

impl Writer {
    /// Has everything written, while somebody waits.
    pub(super) async fn drain(self: &Arc<Self>) {
        while !self.book.is_empty() {
            if self.round().await.is_err() {
                time::sleep(FIRST_PAUSE).await;
            }
        }
    }
}

/// Travels with the worker and says, however it ends, that it is gone.
struct Alive(Arc<Writer>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.is_working.store(false, Ordering::SeqCst);
    }
}
