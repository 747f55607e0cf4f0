//! What one read found, and when: the unit that the cache keeps and hands out.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use super::{
    fence::{Fence, Snap, Stripe},
    sieve::Cell,
};
use crate::value::{clock::Monotonic, digest::TokenDigest, key::Record, subject::Subject};

/// What one read found. Immutable but for its place and the next moments of recorder and refresh.
///
/// A million of them are kept: what is not needed at every hit stands behind a pointer.
pub(crate) struct Slot {
    content: Content,
    /// The fence's time before the read was queued.
    snap: Snap,
    /// The monotonic time before the read was queued: age counts from here.
    loaded_at: Monotonic,
    /// Of a present record its key's, its owner's and its digest's; of an absent one its digest's
    /// alone, thrice.
    stripes: [Stripe; 3],
    /// Its place in the table where it stands. Written under the map's guard.
    cell: AtomicU32,
    /// From when on a use of the key is to be shown to the access recorder, in nanoseconds; 0 before
    /// that has looked. A copy of what the recorder knows of the key, which a slot that replaces
    /// this one takes over: it may be too early, and never moves back.
    due: AtomicU64,
    /// Until when somebody has claimed its refresh, in nanoseconds. Only a hint: no other memory
    /// hangs on it, so that it is read and written Relaxed.
    claimed_until: AtomicU64,
}

enum Content {
    Present {
        record: Arc<Record>,
        /// Whether its expiry stays as it is, whoever uses the key: it was asked for a later one in
        /// vain. It takes room that the variant's own number leaves. Relaxed: no other memory hangs on it.
        stays: AtomicBool,
        /// Whether a thread has it in a table of its own, or one of its key that stood in its place
        /// before. It takes room likewise.
        is_in_fronts: AtomicBool,
    },
    Absent(Box<TokenDigest>),
}

impl Content {
    fn present(record: Arc<Record>) -> Self {
        let [stays, is_in_fronts] = [const { AtomicBool::new(false) }; 2];
        Self::Present { record, stays, is_in_fronts }
    }
}

impl Slot {
    pub(crate) fn new(
        fence: &Fence,
        digest: TokenDigest,
        found: Option<Record>,
        snap: Snap,
        loaded_at: Monotonic,
    ) -> Self {
        let (content, stripes) = match found {
            Some(record) => {
                let stripes = fence.stripes_of(&record);
                (Content::present(Arc::new(record)), stripes)
            }
            None => {
                (Content::Absent(Box::new(digest)), [fence.stripe(&Subject::Digest(digest)); 3])
            }
        };
        let (cell, due, claimed_until) =
            (AtomicU32::default(), AtomicU64::default(), AtomicU64::default());
        Self { content, snap, loaded_at, stripes, cell, due, claimed_until }
    }

    /// This slot with a later snap, which [`Fence::supersede`] gave it.
    pub(crate) fn with_snap(mut self, snap: Snap) -> Self {
        self.snap = snap;
        self
    }

    /// This slot with another record of the same key, of this snap: as old as it is, to be put in its
    /// place.
    pub(super) fn telling(&self, record: Arc<Record>, snap: Snap) -> Self {
        let claimed = self.claimed_until.load(Ordering::Relaxed);
        Self {
            content: Content::present(record),
            snap,
            loaded_at: self.loaded_at,
            stripes: self.stripes,
            cell: AtomicU32::default(),
            due: AtomicU64::default(),
            claimed_until: AtomicU64::new(claimed),
        }
    }

    /// Takes over the place of the slot that it replaces, and the recorder's moment if both are of
    /// one key: a refresh does not begin the window anew.
    pub(super) fn replace(&self, old: &Self) {
        self.settle_in(old.cell());
        if let (Some(mine), Some(its)) = (self.record(), old.record())
            && mine.id() == its.id()
        {
            self.due.fetch_max(old.due.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        if old.is_in_fronts() {
            self.put_in_fronts();
        }
    }

    /// Notes that a thread has it in a table of its own.
    ///
    /// Relaxed: whoever notes it looks under the map's lock afterwards whether it still stands there, and
    /// whoever takes it from there looks at the note afterwards. So the lock orders the two.
    pub(super) fn put_in_fronts(&self) {
        if let Content::Present { is_in_fronts, .. } = &self.content {
            is_in_fronts.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn is_in_fronts(&self) -> bool {
        matches!(&self.content, Content::Present { is_in_fronts, .. } if is_in_fronts.load(Ordering::Relaxed))
    }

    /// Takes a place.
    pub(super) fn settle_in(&self, cell: Cell) {
        self.cell.store(cell.0, Ordering::Relaxed);
    }

    pub(super) fn cell(&self) -> Cell {
        Cell(self.cell.load(Ordering::Relaxed))
    }

    /// The record, if there is one.
    pub(crate) fn record(&self) -> Option<&Arc<Record>> {
        match &self.content {
            Content::Present { record, .. } => Some(record),
            Content::Absent(_) => None,
        }
    }

    pub(crate) fn digest(&self) -> &TokenDigest {
        match &self.content {
            Content::Present { record, .. } => record.key().digest(),
            Content::Absent(digest) => digest,
        }
    }

    pub(crate) fn snap(&self) -> Snap {
        self.snap
    }

    pub(crate) fn loaded_at(&self) -> Monotonic {
        self.loaded_at
    }

    pub(crate) fn stripes(&self) -> [Stripe; 3] {
        self.stripes
    }

    pub(crate) fn due(&self) -> &AtomicU64 {
        &self.due
    }

    /// From when on a use of the key is to be shown to the access recorder.
    pub(super) fn due_at(&self) -> Monotonic {
        Monotonic::from_nanos(self.due.load(Ordering::Relaxed))
    }

    /// Whether a use may still move its expiry on.
    pub(crate) fn may_slide(&self) -> bool {
        matches!(&self.content, Content::Present { stays, .. } if !stays.load(Ordering::Relaxed))
    }

    /// Its expiry stays as it is, until another slot stands in its place.
    pub(crate) fn stay(&self) {
        if let Content::Present { stays, .. } = &self.content {
            stays.store(true, Ordering::Relaxed);
        }
    }

    /// Whether nothing was revoked since the read that it depends on.
    pub(crate) fn is_current(&self, fence: &Fence) -> bool {
        fence.is_current(self.stripes, self.snap)
    }

    /// Whether this read began after `other`'s, as far as both can tell.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        (self.snap, self.loaded_at) > (other.snap, other.loaded_at)
    }

    /// Whether both tell the same in all that a revocation can change.
    pub(crate) fn same_standing(&self, other: &Self) -> bool {
        match (self.record(), other.record()) {
            (Some(one), Some(other)) => one.same_standing(other),
            (None, None) => true,
            _ => false,
        }
    }

    /// Whether nobody has claimed its refresh.
    pub(crate) fn may_be_claimed(&self, now: Monotonic) -> bool {
        now.as_nanos() >= self.claimed_until.load(Ordering::Relaxed)
    }

    /// Until when nobody else need ask for its refresh.
    pub(super) fn claimed_until(&self) -> Monotonic {
        Monotonic::from_nanos(self.claimed_until.load(Ordering::Relaxed))
    }

    /// Whether the caller is the one to refresh it; if so, nobody else is until `again`.
    pub(crate) fn claim_refresh(&self, now: Monotonic, again: Monotonic) -> bool {
        let at = self.claimed_until.load(Ordering::Relaxed);
        now.as_nanos() >= at
            && self
                .claimed_until
                .compare_exchange(at, again.as_nanos(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the two counts before each of them, that is 80 and 232 bytes for every cached key.
    #[test]
    fn a_million_of_them_stay_small() {
        assert!(size_of::<Slot>() <= 64, "{}", size_of::<Slot>());
        assert!(size_of::<Record>() <= 216, "{}", size_of::<Record>());
    }
}
