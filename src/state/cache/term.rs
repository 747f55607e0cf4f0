//! For how long a slot is relied on: by its age, and by until when the revocation feed is known to
//! work.
//!
//! # The bound on a change made elsewhere
//! A probe of the feed that came back proves that everything committed before it was sent, at S, was
//! told and is in the fence; the *lease* then runs to S + heartbeat + timeout. Take a change that is
//! committed at T and not in the fence. No probe sent after T has come back, so that the lease ends
//! by T + heartbeat + timeout. A slot that does not show the change was read before T. It is used
//! for as long as the short TTL behind the later of its read and the lease's end, so that it is gone
//! by T + heartbeat + timeout + short TTL, however the feed or its driver came to be silent.
//!
//! Nobody has to notice a loss for that: a driver that panicked, stalls or was dropped is a lease
//! that ends by itself. Without a feed the lease never ends, and the fresh TTL is the bound.

use std::{sync::Arc, time::Duration};

use super::{
    Cache, ReadError, Slot,
    sync::{AtomicU64, acquire, release},
};
use crate::value::{
    clock::{Monotonic, Reading},
    digest::TokenDigest,
};

/// Until when the revocation feed is known to work.
pub(super) struct Lease {
    /// Nanoseconds of the monotonic clock: 0 before the feed was ever heard, the far end of the
    /// scale where there is none. Written by the feed's driver alone, of which there is one.
    end: AtomicU64,
    /// For how long a slot is used that no lease covers.
    short_ttl: Duration,
    /// The part of it from which a hit asks for a refresh.
    refresh_after: Duration,
}

impl Lease {
    /// The lease of a feed with this short TTL; `None` where there is no feed.
    pub(super) fn new(short_ttl: Option<Duration>) -> Self {
        let end = AtomicU64::new(if short_ttl.is_some() { 0 } else { u64::MAX });
        let short_ttl = short_ttl.unwrap_or(Duration::MAX);
        Self { end, short_ttl, refresh_after: ahead_of(short_ttl) }
    }

    /// Acquire: who sees a lease that was extended sees what was told before, and the flush of a
    /// recovery. So it is read *before* the stamps: the other way round, a slot could pass the
    /// stamps before the flush and its deadline after the extension.
    fn end(&self) -> Monotonic {
        Monotonic::from_nanos(acquire(&self.end))
    }

    /// Release: makes visible what was told and flushed before.
    fn extend(&self, end: Monotonic) {
        if end > self.end() {
            release(&self.end, end.as_nanos());
        }
    }

    fn lower(&self, end: Monotonic) {
        if end < self.end() {
            release(&self.end, end.as_nanos());
        }
    }
}

/// The two moments in a slot's life.
pub(super) struct Term {
    /// From when it is not used any more.
    pub(super) deadline: Monotonic,
    /// From when a use asks for a refresh.
    pub(super) refresh_from: Monotonic,
}

impl Cache {
    /// The life of a slot as the feed stands now.
    pub(super) fn term(&self, slot: &Slot) -> Term {
        let ttl = if slot.record().is_some() { self.fresh_ttl } else { self.absent_ttl };
        let loaded = slot.loaded_at();
        let covered = loaded.max(self.lease.end());
        let Lease { short_ttl, refresh_after, .. } = self.lease;
        Term {
            deadline: loaded.after(ttl).min(covered.after(short_ttl)),
            refresh_from: loaded.after(self.refresh_after).min(covered.after(refresh_after)),
        }
    }

    /// A gap of the feed was found: from now on the short TTL holds. The clock moves on, so that
    /// whoever holds a slot outside the tables works out its deadline anew.
    pub(crate) fn feed_lost(&self) {
        self.lease.lower(self.clock.monotonic());
        self.fence.tick();
    }

    /// The feed listens, again or for the first time, since a moment that lies before
    /// `lease_end`: all that was read before may have missed a change, and goes *before* the lease
    /// vouches for what is read from now on.
    pub(crate) fn feed_found(&self, lease_end: Monotonic) {
        self.fence.flush();
        self.lease.extend(lease_end);
    }

    /// A probe came back: the feed is known to work until `lease_end`.
    pub(crate) fn feed_answered(&self, lease_end: Monotonic) {
        self.lease.extend(lease_end);
    }

    /// Until when the feed is known to work; `None` before it ever was.
    pub(crate) fn feed_lease(&self) -> Option<Monotonic> {
        Some(self.lease.end()).filter(|end| end.as_nanos() != 0)
    }

    /// What stands in for a read that failed: the present slot, past its TTL by at most
    /// `stale_if_error`. Never one that a revocation has outdated, never while the feed is down, and
    /// never for an error that is about this very row, which may have been changed into what can't
    /// be read. Whoever uses it judges its record against now, as ever.
    pub(super) fn bridge(
        &self,
        digest: &TokenDigest,
        error: ReadError,
    ) -> Result<Arc<Slot>, ReadError> {
        if self.stale_if_error.is_zero() || error == ReadError::Unreadable {
            return Err(error);
        }
        let now = self.clock.read();
        self.notice_clock_jump(&now);
        let usable = |slot: &Arc<Slot>| self.usable_in_need(slot, &now).then(|| Arc::clone(slot));
        self.present.read(digest, usable).ok_or(error)
    }

    fn usable_in_need(&self, slot: &Slot, now: &Reading) -> bool {
        let end = slot.loaded_at().after(self.fresh_ttl).after(self.stale_if_error);
        // The lease before the stamps, as for every use.
        now.monotonic < end.min(self.lease.end()) && slot.is_current(&self.fence)
    }
}

/// Four fifths of a life: early enough that the read lands before the end, late enough that it
/// costs a quarter more reads and no more.
pub(super) fn ahead_of(ttl: Duration) -> Duration {
    ttl / 5 * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Monotonic {
        Monotonic::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn a_lease_without_a_feed_never_ends_and_one_never_heard_never_began() {
        let none = Lease::new(None);
        none.extend(at(1));
        assert_eq!(none.end().as_nanos(), u64::MAX);
        assert_eq!(Lease::new(Some(Duration::from_secs(5))).end().as_nanos(), 0);
    }

    #[test]
    fn an_answer_that_comes_late_shortens_no_lease_and_a_gap_lengthens_none() {
        let lease = Lease::new(Some(Duration::from_secs(5)));
        lease.extend(at(5));
        lease.extend(at(3));
        assert_eq!(lease.end(), at(5));
        lease.lower(at(9));
        assert_eq!(lease.end(), at(5));
        lease.lower(at(4));
        assert_eq!(lease.end(), at(4));
    }
}
