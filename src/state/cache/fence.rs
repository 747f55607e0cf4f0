//! The clock and stamps by which a revocation outdates everything that was read before it.
//!
//! A read takes the clock's time (its *snap*) before it is queued; a revocation moves the clock on
//! and stamps its subjects with the new time. What was read is *current* while no stamp that it
//! depends on is later than its snap. So a revocation is O(1), needs no list of what is cached, and
//! reaches reads that are still under way.
//!
//! Why it holds: a revocation stamps (Release) after its commit. A read whose snap is not older
//! than that stamp loaded the clock (Acquire) after the commit, so it sees the change. A read whose
//! snap is older fails the check of every authentication that begins after the revocation returned,
//! as that authentication loads the stamps (Acquire) afterwards.
//!
//! Subjects share stripes by a keyed hash: one revocation may outdate a few unrelated keys, which
//! are read again; it can never spare the one it is about.

use std::hash::{BuildHasher, Hash};

use super::sync::{AtomicU64, Mutex, acquire, lock, release};
use crate::value::{key::Record, subject::Subject};

/// The clock's time when a read began. Ordered; later is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Snap(u64);

/// The stamp of one or more subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stripe(u32);

pub(crate) struct Fence {
    /// The time that was given out last. The lock makes "stamp, then move the clock" one step among
    /// revocations; the atomics are only stored under it.
    last: Mutex<u64>,
    /// Stored after the stamps of the same time: who reads this time sees those stamps.
    clock: AtomicU64,
    /// The time of the last flush: a stamp that everything depends on.
    flushed: AtomicU64,
    stamps: Box<[AtomicU64]>,
    hasher: StripeHasher,
}

impl Fence {
    /// A fence for a cache of `capacity` entries. At 4,096 stripes one revocation outdates 244
    /// unrelated keys of a million, at 2²⁰ one.
    pub(crate) fn for_capacity(capacity: usize) -> Self {
        let stripes = capacity.clamp(1 << 12, 1 << 20).next_power_of_two();
        // A checker makes every stamp anew in each of its executions.
        #[cfg(any(token_auth_loom, token_auth_shuttle))]
        let stripes = stripes.min(16);
        Self::with_stripes(stripes)
    }

    /// A fence of `stripes` stamps; a power of two.
    pub(crate) fn with_stripes(stripes: usize) -> Self {
        debug_assert!(stripes.is_power_of_two());
        Self {
            last: Mutex::new(0),
            clock: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
            stamps: (0..stripes).map(|_| AtomicU64::new(0)).collect(),
            hasher: StripeHasher::default(),
        }
    }

    /// The stamp that `subject` has, by itself or shared.
    pub(crate) fn stripe(&self, subject: &Subject) -> Stripe {
        match subject {
            Subject::Digest(digest) => self.hash((0_u8, digest)),
            Subject::Key(id) => self.hash((1_u8, id)),
            Subject::Owner(id) => self.hash((2_u8, id)),
        }
    }

    /// The stamps that a present record depends on: its key's, its owner's and its digest's. The
    /// last one is for who knows a revoked token by nothing else.
    pub(crate) fn stripes_of(&self, record: &Record) -> [Stripe; 3] {
        let key = record.key();
        [
            self.hash((1_u8, key.id())),
            self.hash((2_u8, record.owner().id())),
            self.hash((0_u8, key.digest())),
        ]
    }

    fn hash(&self, subject: impl Hash) -> Stripe {
        let mask = self.stamps.len() as u64 - 1;
        let index = self.hasher.hash_one(subject) & mask;
        Stripe(u32::try_from(index).expect("a fence has at most 2^20 stripes"))
    }

    /// The time now, to be taken before a read is queued. Acquire: a read that sees a revocation's
    /// time begins after its commit.
    pub(crate) fn snap(&self) -> Snap {
        Snap(acquire(&self.clock))
    }

    /// Whether nothing that a read depends on was revoked since its snap. To be asked after the
    /// authentication that relies on it began.
    pub(crate) fn is_current<const N: usize>(&self, stripes: [Stripe; N], snap: Snap) -> bool {
        acquire(&self.flushed) <= snap.0
            && stripes.iter().all(|stripe| acquire(&self.stamps[stripe.0 as usize]) <= snap.0)
    }

    /// Outdates whatever was read about `subjects` before. Call it after the commit.
    pub(crate) fn revoke(&self, subjects: &[Subject]) {
        let mut last = lock(&self.last);
        *last += 1;
        for subject in subjects {
            let Stripe(index) = self.stripe(subject);
            release(&self.stamps[index as usize], *last);
        }
        release(&self.clock, *last);
    }

    /// Outdates whatever was read before.
    pub(crate) fn flush(&self) {
        let mut last = lock(&self.last);
        *last += 1;
        release(&self.flushed, *last);
        release(&self.clock, *last);
    }

    /// Moves the clock on and outdates nothing: whoever holds what they checked at an earlier time
    /// checks it again.
    pub(crate) fn tick(&self) {
        let mut last = lock(&self.last);
        *last += 1;
        release(&self.clock, *last);
    }

    /// Revokes, by the stamp `old` has for itself, a record of which a newer read tells something
    /// else, unless that read is outdated too. Answers with the snap that the newer read may take:
    /// as the check and the stamp are one step, no revocation can lie between.
    pub(crate) fn supersede<const N: usize>(
        &self,
        old: [Stripe; N],
        new: [Stripe; N],
        snap: Snap,
    ) -> Option<Snap> {
        let mut last = lock(&self.last);
        if !self.is_current(old, snap) || !self.is_current(new, snap) {
            return None;
        }
        *last += 1;
        release(&self.stamps[old[0].0 as usize], *last);
        release(&self.clock, *last);
        Some(Snap(*last))
    }
}

/// Keyed at random, so that nobody outside can aim a revocation at a stranger's stripe.
#[cfg(not(any(token_auth_loom, token_auth_shuttle)))]
type StripeHasher = std::hash::RandomState;
/// Models need the same stripes in every execution.
#[cfg(any(token_auth_loom, token_auth_shuttle))]
type StripeHasher = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{
        digest::{DigestAlgorithm, TokenDigest},
        key::KeyId,
    };

    fn digest(text: &str) -> Subject {
        Subject::Digest(TokenDigest::of(DigestAlgorithm::Sha256, text))
    }

    #[test]
    fn a_revocation_outdates_what_was_read_before_and_only_that() {
        let fence = Fence::for_capacity(1_000_000);
        let [one, other] = [digest("one"), digest("other")];
        let on = |subject: &Subject| [fence.stripe(subject); 2];
        let before = fence.snap();
        fence.revoke(std::slice::from_ref(&one));
        assert!(!fence.is_current(on(&one), before));
        assert!(fence.is_current(on(&other), before) || fence.stripe(&one) == fence.stripe(&other));
        assert!(fence.is_current(on(&one), fence.snap()));
    }

    #[test]
    fn a_flush_outdates_everything() {
        let fence = Fence::for_capacity(1);
        let before = fence.snap();
        fence.flush();
        assert!(!fence.is_current([fence.stripe(&digest("any")); 2], before));
        assert!(fence.is_current([fence.stripe(&digest("any")); 2], fence.snap()));
    }

    #[test]
    fn a_read_supersedes_only_while_it_is_current_itself() {
        let fence = Fence::for_capacity(1);
        let subject = Subject::Key(KeyId::random());
        let on = [fence.stripe(&subject); 2];
        let snap = fence.snap();
        let newer = fence.supersede(on, on, snap).unwrap();
        assert!(newer > snap && fence.is_current(on, newer) && !fence.is_current(on, snap));
        assert_eq!(fence.supersede(on, on, snap), None, "the older read is outdated by now");
    }

    #[test]
    fn stripes_follow_the_capacity_within_bounds() {
        let stripes = |capacity| Fence::for_capacity(capacity).stamps.len();
        assert_eq!(stripes(1), 4096);
        assert_eq!(stripes(100_000), 131_072);
        assert_eq!(stripes(usize::MAX), 1 << 20);
    }
}
