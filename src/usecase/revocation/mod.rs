//! Keeps the cache in step with changes made elsewhere, as a revocation feed tells of them.
//!
//! # Rules
//! 1. What the feed tells goes into the fence at once.
//! 2. A probe is sent every heartbeat. One that comes back extends the lease, counted from when it
//!    was sent; one that does not within the timeout is a gap.
//! 3. At a gap the lease ends now and the feed is told to listen anew. Once it does, everything
//!    cached goes, and only then a new lease begins, counted from before it was asked to.
//! 4. Nothing hangs on a gap being noticed: a lease that nobody extends ends by itself, and what is
//!    cached lives on for the short TTL at most.

mod driver;
mod health;
mod pulse;
mod settings;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{runtime::Handle, sync::Notify};

pub use health::FeedHealth;
pub(super) use settings::FeedSettings;

use self::{pulse::Pulse, settings::Feed};
use crate::{
    state::{cache::Cache, store::DynFeed},
    value::{
        clock::Clock,
        meter::{Levels, Meter},
    },
};

/// What an authenticator holds of its feed's driver. When it is dropped, the driver ends.
pub(super) struct Revocation(Option<Arc<Shared>>);

/// What authenticator and driver share.
struct Shared {
    cache: Arc<Cache>,
    clock: Clock,
    meter: Meter,
    pulse: Pulse,
    /// The feed, while no driver has it. Invariant: it is here or with the one driver.
    feed: Mutex<Option<Box<dyn DynFeed>>>,
    /// The number of the latest probe: none is ever used twice, so that an answer from before a gap
    /// is not taken for one from after it.
    nonce: AtomicU64,
    /// Wakes the driver for its end: the authenticator is gone.
    closing: Notify,
    /// Whether a driver is alive. Invariant: whoever turns it on spawns one, whose end turns it off.
    is_working: AtomicBool,
    /// No new driver before this moment of the monotonic clock: one has failed.
    resting_until: AtomicU64,
    news: Mutex<News>,
}

/// What the driver learnt last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum News {
    /// Nothing yet.
    #[default]
    None,
    /// A gap, and why.
    Gap(Box<str>),
    /// A probe came back.
    Alive,
}

impl Revocation {
    /// Over the feed, if there is one. Nothing is spawned yet.
    pub(super) fn new(
        feed: Option<Feed>,
        cache: &Arc<Cache>,
        clock: &Clock,
        meter: &Meter,
    ) -> Self {
        Self(feed.map(|Feed { feed, pulse }| {
            Arc::new(Shared {
                cache: Arc::clone(cache),
                clock: clock.clone(),
                meter: meter.clone(),
                pulse,
                feed: Mutex::new(Some(feed)),
                nonce: AtomicU64::new(0),
                closing: Notify::new(),
                is_working: AtomicBool::new(false),
                resting_until: AtomicU64::new(0),
                news: Mutex::default(),
            })
        }))
    }

    /// Starts the driver if none is alive and there is a runtime for it. Called wherever the store
    /// is read, so that a driver whose runtime went away is followed by one on another.
    pub(super) fn rouse(&self) {
        let Some(shared) = &self.0 else { return };
        // SeqCst, as everywhere on this flag and in `Alive::drop`: cold, and the plain order in
        // which one driver ends and the next begins.
        if shared.is_working.load(Ordering::SeqCst) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let now = shared.clock.monotonic().as_nanos();
        if now < shared.resting_until.load(Ordering::SeqCst)
            || shared.is_working.swap(true, Ordering::SeqCst)
        {
            return;
        }
        driver::start(shared, &runtime);
    }

    /// Notes how the feed is, if there is one.
    pub(super) fn read_off(&self, levels: &mut Levels) {
        levels.feed = self.0.as_ref().map(|shared| shared.health().is_healthy());
    }

    /// How the feed is.
    pub(super) fn health(&self) -> FeedHealth {
        self.0.as_ref().map_or(FeedHealth::Off, |shared| shared.health())
    }
}

impl Drop for Revocation {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            // Leaves a permit behind where the driver does not wait yet.
            shared.closing.notify_one();
        }
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Revocation").field(&self.health()).finish()
    }
}

/// Locks. Nothing under these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
