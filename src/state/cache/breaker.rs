//! While the store fails, a bounded rate of probes in place of every request's read.
//!
//! This is not caching a failure: nothing is remembered about any key, and what is cached and
//! current is served all the while. It spares a store that is down the load of being asked, and
//! the callers the wait.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use crate::value::clock::Monotonic;

/// Consecutive failures that open the breaker: one may be a connection that the database closed,
/// three in a row are a store in trouble.
const FAILURES_TO_OPEN: u32 = 3;
/// The least time between two probes: recovery is noticed within it, well inside the `Retry-After`
/// of one second that clients are told.
const BETWEEN_PROBES: Duration = Duration::from_millis(500);

/// All Relaxed: the numbers guard no other memory, and a read more or less does no harm.
#[derive(Default)]
pub(super) struct Breaker {
    failures: AtomicU32,
    /// From when the next probe may pass, in nanoseconds.
    next_probe: AtomicU64,
}

impl Breaker {
    /// Whether a read may be sent at `now`.
    pub(super) fn admits(&self, now: Monotonic) -> bool {
        if self.failures.load(Ordering::Relaxed) < FAILURES_TO_OPEN {
            return true;
        }
        let at = self.next_probe.load(Ordering::Relaxed);
        let next = now.after(BETWEEN_PROBES).as_nanos();
        let (ok, or) = (Ordering::Relaxed, Ordering::Relaxed);
        now.as_nanos() >= at && self.next_probe.compare_exchange(at, next, ok, or).is_ok()
    }

    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self, now: Monotonic) {
        let before = self.failures.load(Ordering::Relaxed);
        // Counting stops where it has said all: it must never wrap round to "closed".
        self.failures.store(before.saturating_add(1), Ordering::Relaxed);
        if before + 1 == FAILURES_TO_OPEN {
            self.next_probe.store(now.after(BETWEEN_PROBES).as_nanos(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn opens_after_three_failures_in_a_row_and_probes_twice_a_second() {
        let breaker = Breaker::default();
        for _ in 0..2 {
            breaker.failed(at(0));
        }
        breaker.succeeded();
        for _ in 0..2 {
            breaker.failed(at(0));
        }
        assert!(breaker.admits(at(0)), "no three in a row");
        breaker.failed(at(0));
        assert!(!breaker.admits(at(499)));
        let admitted = (500..10_500).filter(|millis| breaker.admits(at(*millis))).count();
        assert_eq!(admitted, 20, "two a second for ten seconds");
    }

    #[test]
    fn one_success_closes_it() {
        let breaker = Breaker::default();
        for _ in 0..5 {
            breaker.failed(at(0));
        }
        assert!(!breaker.admits(at(1)));
        breaker.succeeded();
        assert!(breaker.admits(at(1)) && breaker.admits(at(1)));
    }
}
