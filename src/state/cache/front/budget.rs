//! How many entries all threads' tables may have together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Of the whole process: 4 MiB of tables, and the records that they hold on to.
const MOST: usize = 1 << 16;

static LEFT: AtomicUsize = AtomicUsize::new(MOST);

/// Room for a number of entries, given back when it is dropped.
pub(super) struct Room(usize);

impl Room {
    pub(super) const fn none() -> Self {
        Self(0)
    }

    /// Takes room for `more` entries beside what it has; whether there was enough.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        // Relaxed: the number guards nothing but itself.
        let take = |left: usize| left.checked_sub(more);
        let taken = LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        self.0 += if taken { more } else { 0 };
        taken
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        LEFT.fetch_add(self.0, Ordering::Relaxed);
    }
}
