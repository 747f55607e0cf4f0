//! How many reads are under way and how many wait for their turn.
//!
//! Two lanes: digests that the cache knows have a share of their own, which no flood of junk
//! tokens can take, and may use the common one where it is free.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::ReadError;

pub(in crate::state::cache) struct Lanes {
    common: Lane,
    reserved: Lane,
}

struct Lane {
    turns: Semaphore,
    /// How many turns there are.
    size: usize,
    /// Reads that wait for a turn. Relaxed: it is only counted.
    waiting: AtomicUsize,
    max_waiting: usize,
}

impl Lanes {
    /// Lanes for `in_flight` reads under way, `reserved` of them for known digests, and for
    /// `waiting` reads that wait, shared out alike.
    pub(in crate::state::cache) fn new(in_flight: usize, reserved: usize, waiting: usize) -> Self {
        let for_known = (waiting * reserved).div_ceil(in_flight);
        Self {
            common: Lane::new(in_flight - reserved, waiting - for_known),
            reserved: Lane::new(reserved, for_known),
        }
    }

    /// A turn to read, held until it is dropped. A dropped wait gives its place up.
    pub(super) async fn turn(&self, is_known: bool) -> Result<SemaphorePermit<'_>, ReadError> {
        if let Ok(turn) = self.common.turns.try_acquire() {
            return Ok(turn);
        }
        if is_known { self.reserved.turn().await } else { self.common.turn().await }
    }

    /// How many turns are taken.
    pub(in crate::state::cache) fn taken(&self) -> usize {
        let taken = |lane: &Lane| lane.size - lane.turns.available_permits();
        taken(&self.common) + taken(&self.reserved)
    }
}

impl Lane {
    fn new(turns: usize, max_waiting: usize) -> Self {
        Self {
            turns: Semaphore::new(turns),
            size: turns,
            waiting: AtomicUsize::new(0),
            max_waiting,
        }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, ReadError> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let _place = Place::take(self)?;
        Ok(self.turns.acquire().await.expect("the semaphore is never closed"))
    }
}

/// A place among those who wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(lane: &'a Lane) -> Result<Self, ReadError> {
        if lane.waiting.fetch_add(1, Ordering::Relaxed) < lane.max_waiting {
            return Ok(Self(&lane.waiting));
        }
        lane.waiting.fetch_sub(1, Ordering::Relaxed);
        Err(ReadError::Overloaded)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
