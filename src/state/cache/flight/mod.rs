//! One store read that all concurrent requests for the same digest share.
//!
//! A newcomer joins the digest's flight unless a revocation of the digest, or a flush, has passed
//! the flight's snap, or the flight is too old; then it puts a flight of its own in the place. Too
//! old is older than the store timeout, as the runtime that it runs on may stand still, or than a
//! TTL, as it may have looked before a change made elsewhere that a newcomer must not miss any
//! more. Owner and key are not known before the read lands, so that every waiter checks the result
//! against the fence itself.

mod lanes;
mod lead;
mod wait;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use slab::Slab;
use tokio::runtime::Handle;

pub(super) use lanes::{Lanes, Way};
pub(super) use lead::{Answer, Lead};
pub(super) use wait::Wait;

use super::{
    fence::{Fence, Snap, Stripe},
    map::ConcurrentMap,
    slot::Slot,
    sync::{Mutex, lock},
};
use crate::value::{clock::Monotonic, digest::TokenDigest, subject::Subject};

/// Why a read told nothing. Never cached, and never an answer about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The store failed, or its task panicked, or the breaker is open.
    Unavailable,
    /// The store has an error of this one row.
    Unreadable,
    /// The store did not answer in time.
    TimedOut,
    /// Too many reads wait already.
    Overloaded,
    /// A change of what was read is not settled.
    Suspect,
}

/// How a flight ended.
#[derive(Clone)]
pub(super) enum Landing {
    /// The store answered.
    Read(Arc<Slot>),
    /// It did not; everybody who waited is told.
    Failed(ReadError),
    /// The leader was dropped before it was done: its caller gave up, or its runtime ended. Nobody
    /// knows anything; who waits may try again.
    Abandoned,
}

pub(super) struct Flight {
    digest: TokenDigest,
    /// The digest's own stamp.
    stripe: Stripe,
    snap: Snap,
    began: Monotonic,
    /// Whether its leader flies on a runtime, which may stand still.
    on_runtime: bool,
    state: Mutex<State>,
}

enum State {
    /// Whom to wake. Bounded by the requests that the service itself holds.
    Flying(Slab<Waker>),
    Landed(Landing),
}

impl Flight {
    /// Takes snap and time: to be called before the read is queued.
    pub(super) fn new(fence: &Fence, digest: TokenDigest, now: Monotonic) -> Arc<Self> {
        Arc::new(Self {
            digest,
            stripe: fence.stripe(&Subject::Digest(digest)),
            snap: fence.snap(),
            began: now,
            on_runtime: Handle::try_current().is_ok(),
            state: Mutex::new(State::Flying(Slab::new())),
        })
    }

    pub(super) fn began(&self) -> Monotonic {
        self.began
    }

    /// Whether a caller without timers may wait for it: who can't tell that a runtime stands still
    /// must not wait for one.
    pub(super) fn suits_a_caller_without_timers(&self) -> bool {
        !self.on_runtime
    }

    fn may_be_joined(&self, fence: &Fence, now: Monotonic, max_age: Duration) -> bool {
        fence.is_current([self.stripe], self.snap) && now.since(self.began) < max_age
    }

    /// Ends the flight, which its leader does once.
    fn land(&self, landing: Landing) {
        let mut state = lock(&self.state);
        let State::Flying(waiting) = &mut *state else { return };
        let waiting = std::mem::take(waiting);
        *state = State::Landed(landing);
        drop(state);
        // Woken without the lock, which each of them takes first.
        waiting.into_iter().for_each(|(_, waker)| contain_panic(|| waker.wake()));
    }
}

/// Runs what is not ours: a waker, or a recorder of metrics. Flights end one after the other here, perhaps
/// in an unwinding: a panic of one must neither hold the next one up nor become an abort.
fn contain_panic(code: impl FnOnce()) {
    drop(catch_unwind(AssertUnwindSafe(code)));
}

/// The flight that newcomers may join, by digest: at most one each.
pub(super) struct Flights {
    map: ConcurrentMap<TokenDigest, Arc<Flight>>,
    max_age: Duration,
}

/// What a newcomer is to do.
pub(super) enum Boarding {
    /// Wait for a read that is under way.
    Follow(Arc<Flight>),
    /// Make the read.
    Lead(Arc<Flight>),
}

impl Flights {
    /// Flights that may be joined until they are `max_age` old.
    pub(super) fn new(max_age: Duration) -> Self {
        Self { map: ConcurrentMap::new(), max_age }
    }

    /// Joins the digest's flight, or opens one. `stale` is a flight that this waiter has waited for
    /// long enough: it is replaced, whatever its age.
    pub(super) fn board(
        &self,
        fence: &Fence,
        digest: TokenDigest,
        now: Monotonic,
        stale: Option<&Arc<Flight>>,
    ) -> Boarding {
        let open = || Flight::new(fence, digest, now);
        self.map.upsert(
            digest,
            |flight| {
                let is_stale = stale.is_some_and(|stale| Arc::ptr_eq(stale, flight));
                if !is_stale && flight.may_be_joined(fence, now, self.max_age) {
                    return Boarding::Follow(Arc::clone(flight));
                }
                *flight = open();
                Boarding::Lead(Arc::clone(flight))
            },
            || {
                let flight = open();
                (Arc::clone(&flight), Boarding::Lead(flight))
            },
        )
    }

    /// Takes a flight out of newcomers' reach. Done before it lands, so that nobody joins a failure
    /// that is already known.
    fn close(&self, flight: &Arc<Flight>) {
        let _ = self.map.remove_if(&flight.digest, |current| Arc::ptr_eq(current, flight));
    }
}
