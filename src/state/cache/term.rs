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
    Cache, CacheSettings, ReadError, Slot,
    sync::{AtomicU64, acquire, release},
};
use crate::value::{
    clock::{Monotonic, Span},
    digest::TokenDigest,
};

/// For how long slots live, worked out once, as every hit asks.
pub(super) struct Lives {
    fresh: Life,
    absent: Life,
    /// Of a slot that no lease covers.
    short: Life,
    /// From a read on, the end behind which not even a store that fails lets it pass.
    in_need: Option<Span>,
}

/// A life, and the part of it from which a hit asks for a refresh.
#[derive(Clone, Copy)]
struct Life {
    whole: Span,
    refresh_after: Span,
}

impl Life {
    fn of(ttl: Duration) -> Self {
        // At four fifths: early enough that the read lands before the end, late enough that it costs
        // a quarter more reads and no more.
        Self { whole: ttl.into(), refresh_after: (ttl / 5 * 4).into() }
    }
}

impl Lives {
    pub(super) fn new(settings: &CacheSettings) -> Self {
        let &CacheSettings { fresh_ttl, absent_ttl, short_ttl, stale_if_error, .. } = settings;
        Self {
            fresh: Life::of(fresh_ttl),
            absent: Life::of(absent_ttl),
            short: Life::of(short_ttl.unwrap_or(Duration::MAX)),
            in_need: (!stale_if_error.is_zero())
                .then(|| fresh_ttl.saturating_add(stale_if_error).into()),
        }
    }
}

/// Until when the revocation feed is known to work.
pub(super) struct Lease {
    /// Nanoseconds of the monotonic clock: 0 before the feed was ever heard, the far end of the
    /// scale where there is none. Written by the feed's driver alone, of which there is one.
    end: AtomicU64,
}

impl Lease {
    /// The lease of a feed that was not heard yet, or of none, which never ends.
    pub(super) fn new(has_feed: bool) -> Self {
        Self { end: AtomicU64::new(if has_feed { 0 } else { u64::MAX }) }
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
        let Lives { fresh, absent, short, .. } = self.lives;
        let own = if slot.record().is_some() { fresh } else { absent };
        let loaded = slot.loaded_at();
        let covered = loaded.max(self.lease.end());
        Term {
            deadline: loaded.after(own.whole).min(covered.after(short.whole)),
            refresh_from: loaded.after(own.refresh_after).min(covered.after(short.refresh_after)),
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
    /// be read, or of which a change is not settled. Whoever uses it judges its record against now, as
    /// ever.
    pub(super) fn bridge(
        &self,
        digest: &TokenDigest,
        error: ReadError,
    ) -> Result<Arc<Slot>, ReadError> {
        let Some(end) = self.lives.in_need else { return Err(error) };
        if matches!(error, ReadError::Unreadable | ReadError::Suspect) {
            return Err(error);
        }
        let now = self.clock.read();
        self.notice_clock_jump(&now);
        let usable = |slot: &Arc<Slot>| {
            // The lease before the stamps, as for every use.
            let deadline = slot.loaded_at().after(end).min(self.lease.end());
            self.usable_until(deadline, slot, &now).then(|| Arc::clone(slot))
        };
        self.present.read(digest, usable).ok_or(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Monotonic {
        Monotonic::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn a_lease_without_a_feed_never_ends_and_one_never_heard_never_began() {
        let none = Lease::new(false);
        none.extend(at(1));
        assert_eq!(none.end().as_nanos(), u64::MAX);
        assert_eq!(Lease::new(true).end().as_nanos(), 0);
    }

    #[test]
    fn an_answer_that_comes_late_shortens_no_lease_and_a_gap_lengthens_none() {
        let lease = Lease::new(true);
        lease.extend(at(5));
        lease.extend(at(3));
        assert_eq!(lease.end(), at(5));
        lease.lower(at(9));
        assert_eq!(lease.end(), at(5));
        lease.lower(at(4));
        assert_eq!(lease.end(), at(4));
    }
}
