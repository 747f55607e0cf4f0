//! Making the read that others wait for.
//!
//! A leader ends in one of four ways, and each lands its flight: the store answered; it failed,
//! panicked or was too slow; there was no turn to be had; or the leader itself was dropped, which
//! the drop guard calls *abandoned*.

use std::sync::{Arc, OnceLock};

use tokio::{runtime::Handle, sync::OwnedSemaphorePermit, time::timeout};

use super::{Flight, Landing, ReadError, Way};
use crate::{
    state::cache::{
        Cache,
        batch::{Answer, Asked, Waiting},
        slot::Slot,
    },
    value::{digest::TokenDigest, meter::Count},
};

/// A flight that has to be flown. Dropped before it landed, it lands as abandoned.
pub(in crate::state::cache) struct Lead {
    cache: Arc<Cache>,
    flight: Arc<Flight>,
    /// When the store was asked, which is later than when the flight began if it waited in line.
    asked: Arc<OnceLock<Asked>>,
}

impl Lead {
    pub(in crate::state::cache) fn new(cache: &Arc<Cache>, flight: Arc<Flight>) -> Self {
        Self { cache: Arc::clone(cache), flight, asked: Arc::default() }
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
        let answer = match (cache.lanes.turn_now(is_known), Handle::try_current()) {
            (Ok(turn), _) => Ok(Some(self.read_alone(turn).await)),
            (Err(way), Ok(_)) => self.read_along(way).await,
            (Err(way), Err(_)) => match cache.lanes.turn_inline(way).await {
                Ok(turn) => Ok(Some(self.read_alone(turn).await)),
                Err(error) => Err(error),
            },
        };
        if self.is_late() {
            // A stalled runtime or a missing timer can cause it: somebody else may have replaced
            // this flight, so that it publishes nothing.
            return self.too_slow();
        }
        match answer {
            Ok(Some(Ok(found))) => {
                let (fence, snap) = (&cache.fence, flight.snap);
                let slot = Slot::new(fence, flight.digest, found, snap, flight.began);
                Landing::Read(cache.publish(slot))
            }
            Ok(Some(Err(error))) | Err(error) => Landing::Failed(error),
            Ok(None) => Landing::Abandoned,
        }
    }

    /// Asks for this digest alone.
    async fn read_alone(&self, _turn: OwnedSemaphorePermit) -> Answer {
        if self.is_late() {
            // Its turn came too late: by now nobody waits for the answer.
            return Err(ReadError::TimedOut);
        }
        let now = self.cache.clock.monotonic();
        if !self.cache.breaker.admits(now) {
            return Err(ReadError::Unavailable);
        }
        let _ = self.asked.set(Asked { at: now, is_alone: true });
        let answer = self.cache.ask(self.flight.digest).await;
        if self.is_late() { Err(ReadError::TimedOut) } else { self.cache.judged(answer) }
    }

    /// Stands in line, and is read with others. Whoever reads keeps count of how that goes.
    async fn read_along(&self, way: Way) -> Result<Option<Answer>, ReadError> {
        let Flight { digest, snap, began, .. } = *self.flight;
        let (waiting, answer) = Waiting::new(digest, snap, began, &self.asked);
        self.cache.read_in_line(way, waiting, answer).await
    }

    fn is_late(&self) -> bool {
        self.cache.clock.monotonic().since(self.flight.began) >= self.cache.store_timeout
    }

    fn too_slow(&self) -> Landing {
        // Who reads for many says so once for all of them.
        if let Some(asked) = self.asked.get().filter(|asked| asked.is_alone) {
            self.cache.too_slow(asked.at);
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
            && let Some(asked) = self.asked.get()
        {
            self.cache.meter.read_ended(outcome, asked.at, &self.cache.clock);
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // Without effect if the flight has landed.
        self.land(Landing::Abandoned);
    }
}
