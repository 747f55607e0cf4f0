//! How many entries all threads' tables may have together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of entries that may still be made.
pub(super) struct Budget(AtomicUsize);

/// Of the whole process: 4 MiB of tables, and the records that they hold on to.
pub(super) static ALL_THREADS: Budget = Budget::of(1 << 16);

impl Budget {
    pub(super) const fn of(entries: usize) -> Self {
        Self(AtomicUsize::new(entries))
    }
}

/// Room for a number of entries, given back when it is dropped.
pub(super) struct Room {
    budget: &'static Budget,
    taken: usize,
}

impl Room {
    pub(super) const fn none(budget: &'static Budget) -> Self {
        Self { budget, taken: 0 }
    }

    /// Takes room for `more` entries beside what it has; whether there was enough.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        // Relaxed: the number guards nothing but itself.
        let (ok, or) = (Ordering::Relaxed, Ordering::Relaxed);
        let has_room = self.budget.0.fetch_update(ok, or, |left| left.checked_sub(more)).is_ok();
        self.taken += if has_room { more } else { 0 };
        has_room
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to fail without `Drop` for `Room`, and with room that is taken although it is too little.
    #[test]
    fn room_that_was_taken_is_missing_until_it_is_given_back() {
        static BUDGET: Budget = Budget::of(100);
        let [mut one, mut other] = [Room::none(&BUDGET), Room::none(&BUDGET)];
        assert!(one.grow(60) && !other.grow(41) && other.grow(40) && !one.grow(1));
        drop(other);
        assert!(!one.grow(41) && one.grow(40));
        drop(one);
        assert!(Room::none(&BUDGET).grow(100));
    }
}
