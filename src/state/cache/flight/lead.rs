//! Making the read that others wait for.
//!
//! A leader ends in one of four ways, and each lands its flight: the store answered; it failed,
//! panicked or was too slow; there was no turn to be had; or the leader itself was dropped, which
//! the drop guard calls *abandoned*.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, OnceLock},
    task::Poll,
};

use tokio::{runtime::Handle, time::timeout};

use super::{Flight, Landing, ReadError};
use crate::{
    state::{
        cache::{Cache, slot::Slot},
        store::StoreError,
    },
    value::{clock::Monotonic, digest::TokenDigest, key::Record, meter::Count},
};

/// A flight that has to be flown. Dropped before it landed, it lands as abandoned.
pub(in crate::state::cache) struct Lead {
    cache: Arc<Cache>,
    flight: Arc<Flight>,
    /// When the store was asked, which is later than when the flight began if it waited in line.
    asked_at: OnceLock<Monotonic>,
}

impl Lead {
    pub(in crate::state::cache) fn new(cache: &Arc<Cache>, flight: Arc<Flight>) -> Self {
        Self { cache: Arc::clone(cache), flight, asked_at: OnceLock::new() }
    }

    pub(in crate::state::cache) fn digest(&self) -> &TokenDigest {
        &self.flight.digest
    }

    /// Lands without a read, as `slot` has what it would tell.
    pub(in crate::state::cache) fn land_with(self, slot: Arc<Slot>) {
        self.land(Landing::Read(slot));
    }

    /// Flies detached, so that a caller who gives up does not take the read along: the next one
    /// would have to begin again. Without a runtime the leader comes back, to be flown inline.
    pub(in crate::state::cache) fn depart(self) -> Result<(), Self> {
        match Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    let left = self
                        .cache
                        .store_timeout
                        .saturating_sub(self.cache.clock.monotonic().since(self.flight.began));
                    let landing = timeout(left, self.read()).await;
                    self.land(landing.unwrap_or_else(|_| self.too_slow()));
                });
                Ok(())
            }
            Err(_) => Err(self),
        }
    }

    /// Flies in the caller's own future, without timers: those need a runtime.
    pub(in crate::state::cache) async fn fly_inline(self) {
        let landing = self.read().await;
        self.land(landing);
    }

    async fn read(&self) -> Landing {
        let (cache, flight) = (&self.cache, &self.flight);
        let is_known = cache.present.knows(&flight.digest);
        let _turn = match cache.lanes.turn(is_known).await {
            Ok(turn) => turn,
            Err(error) => return Landing::Failed(error),
        };
        let now = cache.clock.monotonic();
        if now.since(flight.began) >= cache.store_timeout {
            // Its turn came too late: by now nobody waits for the answer.
            return self.too_slow();
        }
        if !cache.breaker.admits(now) {
            return Landing::Failed(ReadError::Unavailable);
        }
        let _ = self.asked_at.set(now);
        let answer = self.ask().await;
        if cache.clock.monotonic().since(flight.began) > cache.store_timeout {
            // Late, which a stalled runtime or a missing timer can cause: somebody else may have
            // replaced this flight, so that it publishes nothing.
            return self.too_slow();
        }
        match answer {
            Ok(found) => {
                cache.breaker.succeeded();
                let (fence, snap) = (&cache.fence, flight.snap);
                let slot = Slot::new(fence, flight.digest, found, snap, flight.began);
                Landing::Read(cache.publish(slot))
            }
            Err(Trouble::Store(error)) => {
                cache.trouble.warn(cache.clock.monotonic(), &error);
                if !error.is_unavailable() {
                    return Landing::Failed(ReadError::Unreadable);
                }
                cache.breaker.failed(cache.clock.monotonic());
                Landing::Failed(ReadError::Unavailable)
            }
            Err(Trouble::Panic) => {
                cache.trouble.warn(cache.clock.monotonic(), "it panicked");
                cache.breaker.failed(cache.clock.monotonic());
                Landing::Failed(ReadError::Unavailable)
            }
        }
    }

    /// The store's answer. A panic of the store is an answer too: it must reach everybody who
    /// waits, and in an inline flight not the one caller who happens to lead.
    async fn ask(&self) -> Result<Option<Record>, Trouble> {
        let find = catch_unwind(AssertUnwindSafe(|| self.cache.store.find(self.flight.digest)));
        let mut find = pin!(find.map_err(|_| Trouble::Panic)?);
        std::future::poll_fn(|cx| {
            // A future that panicked is not polled again.
            match catch_unwind(AssertUnwindSafe(|| find.as_mut().poll(cx))) {
                Ok(answer) => answer.map(|answer| answer.map_err(Trouble::Store)),
                Err(_) => Poll::Ready(Err(Trouble::Panic)),
            }
        })
        .await
    }

    /// Held against the store only if that had a fair share of the time: most of it may have been
    /// spent in line, and a flood of junk must not open the breaker, which would keep known digests
    /// from the turns that are reserved for them.
    fn too_slow(&self) -> Landing {
        let (now, fair) = (self.cache.clock.monotonic(), self.cache.store_timeout / 2);
        if self.asked_at.get().is_some_and(|asked_at| now.since(*asked_at) >= fair) {
            self.cache.trouble.warn(now, "it did not answer in time");
            self.cache.breaker.failed(now);
        }
        Landing::Failed(ReadError::TimedOut)
    }

    fn land(&self, landing: Landing) {
        let outcome = match &landing {
            Landing::Read(slot) if slot.record().is_some() => Count::ReadFound,
            Landing::Read(_) => Count::ReadAbsent,
            Landing::Failed(ReadError::TimedOut) => Count::ReadTimedOut,
            Landing::Failed(_) => Count::ReadFailed,
            Landing::Abandoned => Count::ReadAbandoned,
        };
        self.cache.flights.close(&self.flight);
        // A flight that ended before the store was asked is no read.
        if self.flight.land(landing)
            && let Some(asked_at) = self.asked_at.get()
        {
            self.cache.meter.read_ended(outcome, *asked_at, &self.cache.clock);
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // Without effect if the flight has landed.
        self.land(Landing::Abandoned);
    }
}

enum Trouble {
    Store(StoreError),
    Panic,
}
