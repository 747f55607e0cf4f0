//! How many reads are under way and how many wait for their turn.
//!
//! Two lanes: digests that the cache knows have a share of their own, which no flood of junk
//! tokens can take, and may use the common one where it is free.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{super::batch::Line, ReadError};

pub(in crate::state::cache) struct Lanes {
    common: Lane,
    reserved: Lane,
}

/// In which lane a read waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::state::cache) enum Way {
    Common,
    /// Of a digest that the cache knows.
    Reserved,
}

struct Lane {
    turns: Arc<Semaphore>,
    /// How many turns there are.
    size: usize,
    line: Line,
    /// Reads that wait for a turn beside the line, as they have no runtime. Relaxed: it is only
    /// counted.
    inline: AtomicUsize,
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

    /// A turn to read, held until it is dropped, if one is free; otherwise where to wait for one.
    pub(in crate::state::cache) fn turn_now(
        &self,
        is_known: bool,
    ) -> Result<OwnedSemaphorePermit, Way> {
        let common = || self.common.turn_now().ok_or(Way::Common);
        if is_known {
            common().or_else(|_| self.reserved.turn_now().ok_or(Way::Reserved))
        } else {
            common()
        }
    }

    /// Where to wait, if no turn seems free; one that seems free may be gone when it is taken.
    pub(super) fn way_to_wait(&self, is_known: bool) -> Option<Way> {
        let is_free = |lane: &Lane| lane.turns.available_permits() > 0;
        if is_free(&self.common) || (is_known && is_free(&self.reserved)) {
            return None;
        }
        Some(if is_known { Way::Reserved } else { Way::Common })
    }

    /// A turn for a read that waits by itself. A dropped wait gives its place up.
    pub(super) async fn turn_inline(&self, way: Way) -> Result<OwnedSemaphorePermit, ReadError> {
        let lane = self.lane(way);
        let _place = Place::take(lane)?;
        Ok(lane.turn().await)
    }

    /// The next turn of a lane, for whoever drives its line.
    pub(in crate::state::cache) async fn turn_for(&self, way: Way) -> OwnedSemaphorePermit {
        self.lane(way).turn().await
    }

    /// The line of a lane.
    pub(in crate::state::cache) fn line(&self, way: Way) -> &Line {
        &self.lane(way).line
    }

    /// How many turns are taken.
    pub(in crate::state::cache) fn taken(&self) -> usize {
        let taken = |lane: &Lane| lane.size - lane.turns.available_permits();
        taken(&self.common) + taken(&self.reserved)
    }

    fn lane(&self, way: Way) -> &Lane {
        match way {
            Way::Common => &self.common,
            Way::Reserved => &self.reserved,
        }
    }
}

impl Lane {
    fn new(turns: usize, max_waiting: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(turns)),
            size: turns,
            line: Line::new(max_waiting),
            inline: AtomicUsize::new(0),
            max_waiting,
        }
    }

    fn turn_now(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).try_acquire_owned().ok()
    }

    async fn turn(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.turns).acquire_owned().await.expect("the semaphore is never closed")
    }
}

/// A place among those who wait by themselves.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(lane: &'a Lane) -> Result<Self, ReadError> {
        if lane.inline.fetch_add(1, Ordering::Relaxed) < lane.max_waiting {
            return Ok(Self(&lane.inline));
        }
        lane.inline.fetch_sub(1, Ordering::Relaxed);
        Err(ReadError::Overloaded)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
