//! Counters of which every thread has its own.
//!
//! Each thread takes the lowest number that no living thread has, and counts in the stripe of that
//! number. As nobody else writes there, a count is a load and a store, on cache lines that no other
//! core wants. Threads beyond the number of stripes, and a thread that is already being torn down,
//! share the last one, by read-modify-writes.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Invariant: there is at least one stripe, the shared one, and it is the last.
pub(super) struct Stripes<const N: usize>(Box<[Stripe<N>]>);

/// As far apart as two cores' caches may fetch at once: two lines of 64 bytes.
#[repr(align(128))]
struct Stripe<const N: usize>([AtomicU64; N]);

impl<const N: usize> Stripes<N> {
    /// Twice as many as threads run at once, so that a service's other threads find one too.
    pub(super) fn for_this_machine() -> Self {
        let threads = thread::available_parallelism().map_or(4, usize::from);
        Self::new(threads.saturating_mul(2).clamp(8, 256))
    }

    fn new(own: usize) -> Self {
        let stripe = |_| Stripe([const { AtomicU64::new(0) }; N]);
        Self((0..=own).map(stripe).collect())
    }

    // Relaxed throughout: a count orders nothing. Whoever takes a number over took it under a lock
    // behind its former thread's last count, so that none is lost.
    #[inline]
    pub(super) fn add(&self, counter: usize, by: u64) {
        let shared = self.0.len() - 1;
        let own = NUMBER.try_with(|number| number.0).unwrap_or(shared);
        if own < shared {
            let cell = &self.0[own].0[counter];
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
        } else {
            self.0[shared].0[counter].fetch_add(by, Ordering::Relaxed);
        }
    }

    /// All threads' counts together. Called by one thread after another, it never goes back.
    pub(super) fn sum(&self, counter: usize) -> u64 {
        let counts = self.0.iter().map(|stripe| stripe.0[counter].load(Ordering::Relaxed));
        counts.fold(0, u64::wrapping_add)
    }
}

/// A number that one living thread has.
struct Number(usize);

thread_local! {
    static NUMBER: Number = Number::take();
}

/// Numbers that were given back, and the lowest that was never given out.
static NUMBERS: Mutex<(BinaryHeap<Reverse<usize>>, usize)> = Mutex::new((BinaryHeap::new(), 0));

impl Number {
    fn take() -> Self {
        let mut numbers = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Reverse(number)) = numbers.0.pop() {
            return Self(number);
        }
        numbers.1 += 1;
        Self(numbers.1 - 1)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        let mut numbers = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.0.push(Reverse(self.0));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    /// Threads that come and go, more at a time than there are stripes.
    ///
    /// Seen to fail with a load and a store in the shared stripe too, and with numbers that are
    /// given out anew while their thread lives.
    #[test]
    fn no_count_is_lost_however_many_threads_there_are() {
        const THREADS: usize = 8;
        let stripes = Stripes::<2>::new(2);
        for _ in 0..50 {
            let together = Barrier::new(THREADS);
            thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        together.wait();
                        (0..2_000).for_each(|_| stripes.add(1, 1));
                    });
                }
            });
        }
        assert_eq!((stripes.sum(0), stripes.sum(1)), (0, 50 * THREADS as u64 * 2_000));
    }

    /// Seen to fail without `Drop` for `Number`: after a while every new thread shares.
    #[test]
    fn a_thread_that_ends_leaves_its_number_to_the_next() {
        let number = || thread::spawn(|| NUMBER.with(|number| number.0)).join().unwrap();
        let highest = (0..1_000).map(|_| number()).max();
        assert!(highest < Some(500), "other tests' threads have numbers too, but not so many");
    }
}
