//! One caller's way to a store read: board a flight, fly it or wait for it, check what it brought.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::coop::cooperative, time::timeout};

use super::{
    Cache, ReadError, Slot,
    flight::{Boarding, Flight, Landing, Lead, Wait},
};
use crate::value::{
    clock::{Monotonic, Reading},
    digest::TokenDigest,
    meter::Count,
};

/// How often a result that was outdated under way is read again before the caller is told to come
/// back: a storm of revocations must end in an answer.
const MAX_RETRIES: usize = 3;
/// How long a claimed refresh keeps others from asking for one: one that failed is tried again a
/// few times before the slot's time is up.
const REFRESH_RETRY: Duration = Duration::from_millis(500);

/// Whether a read that is already under way, or its result, will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Anything current.
    Current,
    /// A read that begins after this call.
    Own,
}

impl Cache {
    /// Reads the digest from the store, in a flight with others if `demand` allows.
    ///
    /// May be dropped at any time: on a runtime the read goes on and others have its result.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        digest: TokenDigest,
        demand: Demand,
    ) -> Result<Arc<Slot>, ReadError> {
        match self.read(digest, demand).await {
            // Who asks for a read of their own is told that there was none.
            Err(error) if demand == Demand::Current => self.bridge(&digest, error),
            read => read,
        }
    }

    async fn read(
        self: &Arc<Self>,
        digest: TokenDigest,
        demand: Demand,
    ) -> Result<Arc<Slot>, ReadError> {
        let mut retries = 0;
        let mut was_abandoned = false;
        let mut stale = None;
        while retries <= MAX_RETRIES {
            let flight = match self.board(digest, demand, stale.as_ref()) {
                Boarding::Follow(flight) => {
                    self.meter.count(Count::Joined);
                    flight
                }
                Boarding::Lead(flight) => {
                    self.fly(Lead::new(self, Arc::clone(&flight)), demand).await;
                    flight
                }
            };
            match self.wait(&flight).await {
                Some(Landing::Read(slot)) => {
                    let now = self.clock.read();
                    self.notice_clock_jump(&now);
                    // Before the stamps are looked at.
                    if self.suspects.hold(slot.digest(), slot.record().map(Arc::as_ref)) {
                        return Err(ReadError::Suspect);
                    }
                    let is_own = demand == Demand::Current || slot.loaded_at() >= flight.began();
                    if is_own && slot.is_current(&self.fence) {
                        return Ok(slot);
                    }
                    retries += 1;
                }
                Some(Landing::Failed(error)) => return Err(error),
                Some(Landing::Abandoned) if was_abandoned => return Err(ReadError::Unavailable),
                Some(Landing::Abandoned) => was_abandoned = true,
                None => {
                    stale = Some(flight);
                    retries += 1;
                }
            }
        }
        Err(ReadError::Unavailable)
    }

    fn board(&self, digest: TokenDigest, demand: Demand, stale: Option<&Arc<Flight>>) -> Boarding {
        let now = self.clock.monotonic();
        match demand {
            Demand::Current => match self.flights.board(&self.fence, digest, now, stale) {
                Boarding::Follow(flight)
                    if Handle::try_current().is_err()
                        && !flight.suits_a_caller_without_timers() =>
                {
                    Boarding::Lead(Flight::new(&self.fence, digest, now))
                }
                boarding => boarding,
            },
            // A read of one's own is in no table, so that nobody else waits for it either.
            Demand::Own => Boarding::Lead(Flight::new(&self.fence, digest, now)),
        }
    }

    async fn fly(self: &Arc<Self>, lead: Lead, demand: Demand) {
        // A flight that landed between this caller's lookup and its boarding has published before
        // it let newcomers open another: then there is nothing left to read.
        let landed = (demand == Demand::Current)
            .then(|| self.standing(lead.digest(), &self.clock.read()))
            .flatten();
        match landed {
            Some(slot) => lead.land_with(slot),
            None => {
                if let Err(lead) = lead.depart() {
                    lead.fly_inline().await;
                }
            }
        }
    }

    /// Whether there is a usable slot of the digest, suspect or not.
    #[cfg(any(token_auth_loom, token_auth_shuttle))]
    pub(crate) fn keeps(&self, digest: &TokenDigest) -> bool {
        self.standing(digest, &self.clock.read()).is_some()
    }

    /// The digest's slot, if it is usable.
    fn standing(&self, digest: &TokenDigest, now: &Reading) -> Option<Arc<Slot>> {
        let usable = |slot: &Arc<Slot>| self.usable(slot, now);
        let present = self.present.peek(digest).filter(usable);
        present.or_else(|| self.absent.peek(digest).filter(usable))
    }

    /// How a flight landed; `None` if it is so late that its runtime must stand still. Without a
    /// runtime there are no timers, and the wait is for as long as the flight takes.
    async fn wait(&self, flight: &Arc<Flight>) -> Option<Landing> {
        let landing = Wait::new(Arc::clone(flight));
        if Handle::try_current().is_err() {
            return Some(landing.await);
        }
        // An eighth more than the leader's own limit, so that a leader who is merely out of time
        // says so itself before anybody takes the flight for lost.
        let limit = self.store_timeout + self.store_timeout / 8;
        let left = limit.saturating_sub(self.clock.monotonic().since(flight.began()));
        // Who is turned away is told at once. It counts against the task's budget, so that one that asks again
        // without a pause lets others go on in the end.
        timeout(left, cooperative(landing)).await.ok()
    }

    /// Reads a slot anew in the background, if nobody does already and there is a runtime for it.
    pub(crate) fn refresh(self: &Arc<Self>, slot: &Slot, now: Monotonic) {
        if now >= self.term(slot).refresh_from
            && slot.claim_refresh(now, now.after(REFRESH_RETRY))
            && let Boarding::Lead(flight) = self.board(*slot.digest(), Demand::Current, None)
        {
            // Without a runtime the leader comes back and is dropped; the slot then serves out its
            // time, and the next request after that reads inline.
            drop(Lead::new(self, flight).depart());
        }
    }
}
