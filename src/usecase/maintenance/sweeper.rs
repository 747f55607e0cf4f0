//! Deletes keys that have expired, for as long as an authenticator lives.
//!
//! A task sweeps at once and then at intervals. It is started by the first request that the cache alone
//! can't admit, on the runtime of that request, and ends in one of three ways. *Done*: the authenticator
//! is gone, or the store can't delete. *Failed*: the store panicked; an interval passes before another
//! task starts. *Cancelled*: its runtime was shut down; the next such request starts another one.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use chrono::TimeDelta;
use tokio::{runtime::Handle, sync::Notify, time};

use crate::{
    usecase::{
        config::{AuthenticatorBuilder, ConfigError},
        inner::Inner,
        manager::KeyManager,
    },
    value::{clock::Monotonic, trace::warn},
};

/// How long an expired key is left: a renewal that is not written yet, here or elsewhere, counts for a
/// minute, and would find the key gone.
const REST: TimeDelta = TimeDelta::minutes(2);

/// Whether somebody sweeps. SeqCst throughout: it is cold, and the plain order in which one task ends
/// and the next begins.
pub(in crate::usecase) struct Sweeper {
    /// `None` leaves expired keys where they are.
    every: Option<Duration>,
    /// Invariant: whoever turns it on spawns a task, whose end turns it off.
    is_working: AtomicBool,
    /// No new task before this moment of the monotonic clock.
    resting_until: AtomicU64,
    /// Cuts the interval short: the authenticator is gone.
    closing: Arc<Notify>,
}

impl Sweeper {
    pub(in crate::usecase) fn new(every: Option<Duration>) -> Result<Self, ConfigError> {
        if every.is_some_and(|every| every < Duration::from_secs(1)) {
            return Err(ConfigError::new(
                "`delete_expired_every` is below a second: an hour or a day keeps the table small",
            ));
        }
        let (is_working, resting_until) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { every, is_working, resting_until, closing: Arc::default() })
    }

    /// Starts the task, unless it is there or there is no runtime for it.
    pub(in crate::usecase) fn rouse(inner: &Arc<Inner>) {
        let sweeper = &inner.sweeper;
        let Some(every) = sweeper.every else { return };
        if sweeper.is_working.load(Ordering::SeqCst) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let now = inner.settings.clock.monotonic().as_nanos();
        if now < sweeper.resting_until.load(Ordering::SeqCst)
            || sweeper.is_working.swap(true, Ordering::SeqCst)
        {
            return;
        }
        // A runtime that is shutting down drops the task, and `Alive` with it, within this call.
        let closing = Arc::clone(&sweeper.closing);
        drop(runtime.spawn(work(Alive(Arc::downgrade(inner)), every, closing)));
    }

    /// The authenticator is gone.
    pub(super) fn close(&self) {
        self.closing.notify_one();
    }

    fn rest(&self, until: Monotonic) {
        self.resting_until.store(until.as_nanos(), Ordering::SeqCst);
    }
}

/// Holds the authenticator only while it sweeps: the task must not keep it alive.
async fn work(alive: Alive, every: Duration, closing: Arc<Notify>) {
    while let Some(inner) = alive.0.upgrade() {
        let before = inner.settings.clock.now() - REST;
        match KeyManager::new(Arc::clone(&inner)).delete_expired(before).await {
            Ok(_) => {}
            Err(error) if error.is_unsupported() => {
                warn("the store can't delete expired keys; it will not be asked again", &error);
                inner.sweeper.rest(Monotonic::from_nanos(u64::MAX));
                return;
            }
            Err(error) => warn("expired keys could not be deleted; they are tried again", &error),
        }
        drop(inner);
        let _ = time::timeout(every, closing.notified()).await;
    }
}

/// Travels with the task and says, however it ends, that it is gone.
struct Alive(Weak<Inner>);

impl Drop for Alive {
    fn drop(&mut self) {
        let Some(inner) = self.0.upgrade() else { return };
        if thread::panicking() {
            let every = inner.sweeper.every.unwrap_or_default();
            inner.sweeper.rest(inner.settings.clock.monotonic().after(every));
        }
        inner.sweeper.is_working.store(false, Ordering::SeqCst);
    }
}

impl AuthenticatorBuilder {
    /// Deletes keys that have expired, in the background, at such intervals: as
    /// [`KeyManager::delete_expired`] does, two minutes after their expiry or later. Off by default, and
    /// then nothing is ever deleted but by the manager. The first request that the cache can't admit
    /// begins it; of several processes one is enough, and more do no harm. A sweep that is under way when the last clone of
    /// the authenticator is dropped goes on to its end.
    pub fn delete_expired_every(mut self, interval: Duration) -> Self {
        self.sweep_every = Some(interval);
        self
    }
}
