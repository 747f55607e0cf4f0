//! Making the read that others wait for.
//!
//! A leader ends in one of four ways, and each lands its flight: the store answered; it failed,
//! panicked or was too slow; there was no turn to be had; or the leader itself was dropped, which
//! the drop guard calls *abandoned*.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::OwnedSemaphorePermit,
    time::timeout,
};

use super::{Flight, Landing, ReadError, Way, contain_panic};
use crate::{
    state::cache::{Cache, fence::Snap, slot::Slot},
    value::{clock::Monotonic, digest::TokenDigest, key::Record, meter::Count},
};

/// What a read told of one digest.
pub(in crate::state::cache) type Answer = Result<Option<Record>, ReadError>;

/// A flight that has to be flown. Dropped before it landed, it lands as abandoned.
pub(in crate::state::cache) struct Lead {
    cache: Arc<Cache>,
    flight: Arc<Flight>,
    /// When the store was asked, which is later than when the flight began if it waited in line.
    asked_at: Option<Monotonic>,
    has_landed: bool,
}

impl Lead {
    pub(in crate::state::cache) fn new(cache: &Arc<Cache>, flight: Arc<Flight>) -> Self {
        Self { cache: Arc::clone(cache), flight, asked_at: None, has_landed: false }
    }

    pub(in crate::state::cache) fn digest(&self) -> &TokenDigest {
        &self.flight.digest
    }

    pub(in crate::state::cache) fn snap(&self) -> Snap {
        self.flight.snap
    }

    pub(in crate::state::cache) fn began(&self) -> Monotonic {
        self.flight.began
    }

    /// How much of its time is left.
    pub(in crate::state::cache) fn time_left(&self) -> Duration {
        self.time_left_at(self.cache.clock.monotonic())
    }

    /// How much of its time is left at `now`.
    pub(in crate::state::cache) fn time_left_at(&self, now: Monotonic) -> Duration {
        self.cache.store_timeout.saturating_sub(now.since(self.flight.began))
    }

    /// Lands without a read, as `slot` has what it would tell.
    pub(in crate::state::cache) fn land_with(mut self, slot: Arc<Slot>) {
        self.land(Landing::Read(slot));
    }

    /// Flies detached, so that a caller who gives up does not take the read along: the next one
    /// would have to begin again. If no turn is free it waits to be read with others. Without a runtime
    /// the leader comes back, to be flown inline.
    pub(in crate::state::cache) fn depart(self) -> Result<(), Self> {
        let Ok(runtime) = Handle::try_current() else { return Err(self) };
        // A current-thread runtime runs its tasks while somebody runs it, which may be never again: until
        // then its read must hold neither a turn nor a place.
        let runs_by_itself = runtime.runtime_flavor() != RuntimeFlavor::CurrentThread;
        match self.cache.lanes.way_to_wait(self.is_known()) {
            Some(way) if runs_by_itself => self.stand_in_line(way, &runtime),
            _ => drop(runtime.spawn(self.fly())),
        }
        Ok(())
    }

    /// On a task. Its turn is taken here and not before, as a task that does not run must not keep one.
    async fn fly(mut self) {
        if self.is_late() {
            // The task was long in coming, and nothing was asked: it is abandoned, and who waits asks anew.
            return;
        }
        match self.cache.lanes.turn_now(self.is_known()) {
            Ok(turn) => {
                let landing = timeout(self.time_left(), self.read(turn)).await;
                self.land(landing.unwrap_or_else(|_| self.too_slow()));
            }
            Err(way) => self.stand_in_line(way, &Handle::current()),
        }
    }

    fn stand_in_line(self, way: Way, runtime: &Handle) {
        Arc::clone(&self.cache).stand_in_line(way, self, runtime);
    }

    /// Flies in the caller's own future, without timers: those need a runtime.
    pub(in crate::state::cache) async fn fly_inline(mut self) {
        let turn = match self.cache.lanes.turn_now(self.is_known()) {
            Ok(turn) => Ok(turn),
            Err(way) => self.cache.lanes.turn_inline(way).await,
        };
        let landing = match turn {
            Ok(turn) => self.read(turn).await,
            Err(error) => Landing::Failed(error),
        };
        self.land(landing);
    }

    /// Asks for this digest alone.
    async fn read(&mut self, _turn: OwnedSemaphorePermit) -> Landing {
        if self.is_late() {
            // Its turn came too late: by now the answer would not be used.
            return Landing::Failed(ReadError::TimedOut);
        }
        let now = self.cache.clock.monotonic();
        if !self.cache.breaker.admits(now) {
            return Landing::Failed(ReadError::Unavailable);
        }
        self.asked_at = Some(now);
        let answer = self.cache.ask(self.flight.digest).await;
        if self.is_late() {
            return self.too_slow();
        }
        self.told(self.cache.judged(answer))
    }

    /// Notes that the store is asked, by somebody who reads for many and tells the
    /// [answer](Self::answer), and the breaker how that goes.
    pub(in crate::state::cache) fn set_asked_at(&mut self, at: Monotonic) {
        self.asked_at = Some(at);
    }

    /// Lands with what was told by somebody who read for many.
    ///
    /// What comes too late is not used, as somebody else may have replaced this flight: a runtime that
    /// stood still looks at the answer before it looks at its timers.
    pub(in crate::state::cache) fn answer(mut self, answer: Answer) {
        let landing =
            if self.is_late() { Landing::Failed(ReadError::TimedOut) } else { self.told(answer) };
        self.land(landing);
    }

    /// Publishes what was told in time.
    fn told(&self, answer: Answer) -> Landing {
        match answer {
            Ok(found) => {
                let Flight { digest, snap, began, .. } = *self.flight;
                let slot = Slot::new(&self.cache.fence, digest, found, snap, began);
                Landing::Read(self.cache.publish(slot))
            }
            Err(error) => Landing::Failed(error),
        }
    }

    /// Whether the cache knows the digest, which has turns of its own then.
    fn is_known(&self) -> bool {
        self.cache.present.knows(&self.flight.digest)
    }

    fn is_late(&self) -> bool {
        self.time_left().is_zero()
    }

    /// Of a read for itself alone.
    fn too_slow(&self) -> Landing {
        if let Some(asked_at) = self.asked_at {
            self.cache.too_slow(asked_at);
        }
        Landing::Failed(ReadError::TimedOut)
    }

    fn land(&mut self, landing: Landing) {
        self.has_landed = true;
        let outcome = match &landing {
            Landing::Read(slot) if slot.record().is_some() => Count::ReadFound,
            Landing::Read(_) => Count::ReadAbsent,
            Landing::Failed(ReadError::TimedOut) => Count::ReadTimedOut,
            Landing::Failed(_) => Count::ReadFailed,
            Landing::Abandoned => Count::ReadAbandoned,
        };
        self.cache.flights.close(&self.flight);
        self.flight.land(landing);
        // A flight that ended before the store was asked is no read.
        if let Some(asked_at) = self.asked_at {
            contain_panic(|| self.cache.meter.read_ended(outcome, asked_at, &self.cache.clock));
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.has_landed {
            self.land(Landing::Abandoned);
        }
    }
}
