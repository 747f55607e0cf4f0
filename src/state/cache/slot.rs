//! What one read found, and when: the unit that the cache keeps and hands out.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::fence::{Fence, Snap, Stripe};
use crate::value::{clock::Monotonic, digest::TokenDigest, key::Record, subject::Subject};

/// When the next use of a key has to be written, in nanoseconds of the monotonic clock; 0 before
/// the access recorder has looked. It belongs to the key: a slot that replaces another one takes it
/// over, so that a refresh does not begin the window anew.
pub(crate) type DueCell = Arc<AtomicU64>;

/// What one read found. Immutable but for the recorder's and the refresh's next moments.
pub(crate) struct Slot {
    content: Content,
    /// The fence's time before the read was queued.
    snap: Snap,
    /// The monotonic time before the read was queued: age counts from here.
    loaded_at: Monotonic,
    /// Of a present record its key's, its owner's and its digest's; of an absent one its digest's
    /// alone, thrice.
    stripes: [Stripe; 3],
    due: DueCell,
    /// Until when somebody has claimed its refresh, in nanoseconds. Only a hint: no other memory
    /// hangs on it, so that it is read and written Relaxed.
    claimed_until: AtomicU64,
}

enum Content {
    Present(Arc<Record>),
    Absent(TokenDigest),
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
                (Content::Present(Arc::new(record)), stripes)
            }
            None => (Content::Absent(digest), [fence.stripe(&Subject::Digest(digest)); 3]),
        };
        let (due, claimed_until) = (DueCell::default(), AtomicU64::new(0));
        Self { content, snap, loaded_at, stripes, due, claimed_until }
    }

    /// This slot with a later snap, which [`Fence::supersede`] gave it.
    pub(crate) fn with_snap(mut self, snap: Snap) -> Self {
        self.snap = snap;
        self
    }

    /// This slot with the recorder's moment of the one it follows, if both are of one key.
    pub(crate) fn inheriting(mut self, old: &Self) -> Self {
        if let (Some(mine), Some(its)) = (self.record(), old.record())
            && mine.key().id() == its.key().id()
        {
            self.due = Arc::clone(&old.due);
        }
        self
    }

    /// The record, if there is one.
    pub(crate) fn record(&self) -> Option<&Arc<Record>> {
        match &self.content {
            Content::Present(record) => Some(record),
            Content::Absent(_) => None,
        }
    }

    pub(crate) fn digest(&self) -> &TokenDigest {
        match &self.content {
            Content::Present(record) => record.key().digest(),
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

    pub(crate) fn due(&self) -> &DueCell {
        &self.due
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
