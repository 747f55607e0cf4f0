//! Publishes what an authenticator counted, for as long as it lives.
//!
//! A task publishes at once and then about once a second. It is started by the first request that
//! the cache alone can't admit, on the runtime of that request, and ends in one of three ways.
//! *Done*: the authenticator is gone, which has published the rest itself. *Failed*: the process'
//! recorder panicked, or the runtime has no timers; a rest passes before another task starts.
//! *Cancelled*: its runtime was shut down; the next such request starts another one. Nothing that
//! was counted is lost in between.
//!
//! Without the feature `metrics` there is nothing to publish and no task.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{runtime::Handle, time};

use crate::{
    usecase::{inner::Inner, rejection::RejectionKind},
    value::meter::{Levels, MAX_REASONS, Meter},
};

const INTERVAL: Duration = Duration::from_secs(1);
/// How long nobody tries after a task has failed.
const REST: Duration = Duration::from_secs(60);

const _: () = assert!(RejectionKind::ALL.len() <= MAX_REASONS);

/// Whether somebody publishes. SeqCst throughout: it is cold, and the plain order in which one task
/// ends and the next begins.
#[derive(Debug, Default)]
pub(in crate::usecase) struct Upkeep {
    /// Invariant: whoever turns it on spawns a task, whose end turns it off.
    is_working: AtomicBool,
    /// No new task before this moment of the monotonic clock: one has failed.
    resting_until: AtomicU64,
}

impl Upkeep {
    /// Starts the task, unless it is there or there is no runtime for it.
    pub(in crate::usecase) fn rouse(inner: &Arc<Inner>) {
        let upkeep = &inner.upkeep;
        if !Meter::IS_ON || upkeep.is_working.load(Ordering::SeqCst) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let now = inner.settings.clock.monotonic().as_nanos();
        if now < upkeep.resting_until.load(Ordering::SeqCst)
            || upkeep.is_working.swap(true, Ordering::SeqCst)
        {
            return;
        }
        // A runtime that is shutting down drops the task, and `Alive` with it, within this call.
        drop(runtime.spawn(work(Alive(Arc::downgrade(inner)))));
    }
}

/// Holds the authenticator only while it publishes: the task must not keep it alive.
async fn work(alive: Alive) {
    while let Some(inner) = alive.0.upgrade() {
        inner.publish(inner.levels());
        drop(inner);
        time::sleep(INTERVAL).await;
    }
}

impl Inner {
    fn publish(&self, levels: Levels) {
        self.meter.publish(&levels, &RejectionKind::ALL.map(RejectionKind::as_str));
    }

    fn levels(&self) -> Levels {
        let mut levels = Levels::default();
        self.cache.read_off(&mut levels);
        self.recorder.read_off(&mut levels);
        self.renewals.read_off(&mut levels);
        self.revocation.read_off(&mut levels);
        levels
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.settler.close();
        self.renewals.close();
        self.sweeper.close();
        if Meter::IS_ON {
            // What a gauge measured is gone; what a counter counted stays.
            let mut levels = Levels::default();
            self.recorder.read_off(&mut levels);
            self.renewals.read_off(&mut levels);
            levels.queued = 0;
            // A recorder that panics must not turn an unwinding into an abort.
            let _ = catch_unwind(AssertUnwindSafe(|| self.publish(levels)));
        }
    }
}

/// Travels with the task and says, however it ends, that it is gone.
struct Alive(Weak<Inner>);

impl Drop for Alive {
    fn drop(&mut self) {
        let Some(inner) = self.0.upgrade() else { return };
        if thread::panicking() {
            let rest = inner.settings.clock.monotonic().after(REST);
            inner.upkeep.resting_until.store(rest.as_nanos(), Ordering::SeqCst);
        }
        inner.upkeep.is_working.store(false, Ordering::SeqCst);
    }
}
