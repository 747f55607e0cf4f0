//! Slots whose key expires later than they were read to say, as a use has moved its expiry on.
//!
//! Such a slot stands in for the one that was read: it has that one's snap and age, so that what
//! outdates the one outdates the other, at the same moment. In tables alone, it is no more than a
//! note of what is to be stored; a read that does not show it yet takes its place as any other
//! would, and whoever noted it notes it again.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Cache, Slot};
use crate::value::{
    clock::Reading,
    digest::TokenDigest,
    key::{KeyId, Record, Slide},
    subject::Subject,
};

impl Cache {
    /// Has uses that move an expiry on be among a slot's chores.
    pub(crate) fn sliding(mut self, slide: Option<Slide>) -> Self {
        self.slide = slide;
        self
    }

    /// Whether this use of the slot may move its expiry on. No shared write, and no clock.
    #[inline]
    pub(super) fn slides(&self, slot: &Slot, record: &Record, now: &Reading) -> bool {
        self.slide.is_some_and(|slide| slide.concerns(record.key(), now.wall) && slot.may_slide())
    }

    /// Tells `record` in place of the slot's own, which it is but for its expiry, if the slot still
    /// stands in its table.
    pub(crate) fn renew(&self, slot: &Arc<Slot>, record: Arc<Record>) {
        self.present.exchange(slot, slot.telling(record, slot.snap()));
    }

    /// Which of the two is to be used where `old` has the later snap. One that tells what was settled has
    /// it without having been read later: a read that began behind its own, and found what no renewal
    /// changes, may be how we learn of a change made elsewhere. Then neither is relied on.
    pub(super) fn later_of(&self, old: Arc<Slot>, slot: Slot) -> Arc<Slot> {
        let is_renewed = |old: &Record, new: &Record| {
            old.key().expires_at().is_some_and(|at| old.same_standing(&new.expiring_at(at)))
        };
        let differs = match (old.record(), slot.record()) {
            (Some(old), Some(new)) => !old.same_standing(new) && !is_renewed(old, new),
            (old, new) => old.is_some() != new.is_some(),
        };
        if !differs || old.loaded_at() >= slot.loaded_at() || !old.is_current(&self.fence) {
            return old;
        }
        self.fence.revoke(&[Subject::Digest(*slot.digest())]);
        Arc::new(slot)
    }

    /// It is decided which of two expiries a key has. Outdates all that was read before, but for a
    /// slot that stands in the table and tells either: that one tells the right one from now on, and
    /// its next use waits for no read.
    pub(crate) fn expiry_settled(
        &self,
        key: KeyId,
        digest: &TokenDigest,
        either: [DateTime<Utc>; 2],
        settled: DateTime<Utc>,
    ) {
        let standing = self.present.peek(digest).and_then(|slot| {
            let record = slot.record()?;
            let tells = record.key().expires_at().is_some_and(|at| either.contains(&at));
            let record = Arc::new(record.expiring_at(settled));
            (record.id() == key && tells).then_some((slot, record))
        });
        // As for a read that differs from what is known (rule 10): that nothing has outdated the slot
        // and that all else is outdated is one step, so that no revocation lies between.
        if let Some((slot, record)) = standing
            && let Some(snap) = self.fence.supersede(slot.stripes(), slot.stripes(), slot.snap())
        {
            self.present.exchange(&slot, slot.telling(record, snap));
        } else {
            self.fence.revoke(&[Subject::Key(key)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;

    use super::*;
    use crate::{
        state::{
            cache::{CacheSettings, Known, fence::Snap},
            store::MemoryStore,
        },
        value::{
            clock::{Clock, ManualClock, Monotonic},
            digest::DigestAlgorithm,
            key::ApiKey,
            meter::Meter,
            owner::Owner,
        },
    };

    const HOUR: TimeDelta = TimeDelta::hours(1);

    struct Scene {
        cache: Cache,
        clock: Clock,
        key: ApiKey,
    }

    impl Scene {
        /// A key that expires now, and a cache that has not heard of it.
        fn new() -> Self {
            let settings = CacheSettings {
                capacity: 4,
                absent_capacity: 4,
                fresh_ttl: Duration::from_secs(10),
                absent_ttl: Duration::from_secs(10),
                stale_if_error: Duration::ZERO,
                short_ttl: None,
                store_timeout: Duration::from_secs(2),
                max_in_flight: 2,
                reserved_in_flight: 1,
                max_waiting: 2,
            };
            let clock = Clock::from(ManualClock::at(DateTime::UNIX_EPOCH + HOUR));
            let store = Arc::new(MemoryStore::new());
            let cache = Cache::new(store, clock.clone(), &settings, Meter::default());
            let cache = cache.sliding(Some(Slide::new(HOUR, None, TimeDelta::seconds(60))));
            let digest = TokenDigest::of(DigestAlgorithm::Sha256, "token");
            let key = ApiKey::new(KeyId::random(), digest, "ada".into(), DateTime::UNIX_EPOCH);
            Self { cache, key: key.with_expires_at(Some(clock.now())), clock }
        }

        fn renewed(&self) -> DateTime<Utc> {
            self.clock.now() + HOUR
        }

        /// A read that begins now finds the key to expire then.
        fn reads(&self, expires_at: DateTime<Utc>, snap: Snap, at: Monotonic) -> Arc<Slot> {
            let key = self.key.clone().with_expires_at(Some(expires_at));
            let found = Some(Record::new(key, Owner::new("ada")));
            self.cache.publish(Slot::new(&self.cache.fence, *self.key.digest(), found, snap, at))
        }

        fn reads_now(&self) -> Arc<Slot> {
            self.reads(self.clock.now(), self.cache.fence.snap(), self.clock.monotonic())
        }

        fn renew(&self, slot: &Arc<Slot>) {
            let record = slot.record().unwrap().expiring_at(self.renewed());
            self.cache.renew(slot, Arc::new(record));
        }

        /// The expiry that is known, and whether there is anything to be done.
        fn known(&self) -> Option<(DateTime<Utc>, bool)> {
            let known = self.cache.lookup(self.key.digest(), &self.clock.read(), true)?;
            let Known::Present { record, slot, .. } = known else { return None };
            // The access recorder has not looked at any of these slots.
            let is_due = slot.is_some_and(|slot| {
                self.cache.slides(&slot, slot.record().unwrap(), &self.clock.read())
            });
            Some((record.key().expires_at()?, is_due))
        }

        fn settled(&self, settled: DateTime<Utc>) {
            let either = [self.clock.now(), self.renewed()];
            self.cache.expiry_settled(self.key.id(), self.key.digest(), either, settled);
        }
    }

    /// Seen to fail with a renewal that takes a new snap, and with one that changes nothing.
    #[test]
    fn what_outdates_a_slot_outdates_the_one_that_tells_a_later_expiry() {
        let s = Scene::new();
        let slot = s.reads_now();
        assert_eq!(s.known(), Some((s.clock.now(), true)));
        s.cache.revoke(&[Subject::Key(KeyId::random())]);
        s.renew(&slot);
        assert_eq!(s.known(), Some((s.renewed(), false)), "a hit on it has nothing to do");
        let standing = s.cache.present.peek(s.key.digest()).unwrap();
        assert_eq!((standing.snap(), standing.loaded_at()), (slot.snap(), slot.loaded_at()));
        s.cache.revoke(&[Subject::Key(s.key.id())]);
        assert_eq!(s.known(), None);
        // One that another has replaced meanwhile is not put back.
        let newer = s.reads_now();
        s.renew(&slot);
        assert!(Arc::ptr_eq(&newer, &s.cache.present.peek(s.key.digest()).unwrap()));
    }

    /// Seen to fail, each at its line: where nothing is outdated, where all is, and with a slot that stays
    /// whatever has outdated it.
    #[test]
    fn what_is_settled_outdates_all_but_the_slot_that_tells_it() {
        let s = Scene::new();
        for (is_renewed, settled) in
            [(false, s.renewed()), (true, s.renewed()), (true, s.clock.now())]
        {
            let slot = s.reads_now();
            if is_renewed {
                s.renew(&slot);
            }
            let before = s.cache.fence.snap();
            s.settled(settled);
            assert_eq!(s.known().map(|known| known.0), Some(settled), "no read is needed");
            assert!(!slot.is_current(&s.cache.fence), "who holds the old slot looks again");
            let later = s.clock.monotonic().after(Duration::from_secs(1));
            let late = s.reads(s.clock.now() + HOUR / 2, before, later);
            let told = late.record().unwrap().key().expires_at();
            assert_eq!(told, Some(settled), "a read that began before does not count");
            s.cache.flush();
        }
        let slot = s.reads_now();
        s.renew(&slot);
        s.cache.revoke(&[Subject::Key(s.key.id())]);
        s.settled(s.renewed());
        assert_eq!(s.known(), None, "a revocation came first");
        s.reads(s.clock.now() + HOUR / 2, s.cache.fence.snap(), s.clock.monotonic());
        s.settled(s.renewed());
        assert_eq!(s.known(), None, "something else was read");
    }

    /// A refresh is under way, and finds that the key was ended elsewhere; its answer comes behind a
    /// renewal of the key that was settled meanwhile.
    ///
    /// Seen to fail, by a key that goes on being admitted, with the later snap alone asked.
    #[test]
    fn a_read_that_found_an_end_is_not_lost_behind_a_renewal() {
        let s = Scene::new();
        let off = |key: ApiKey| Record::new(key.with_active(false), Owner::new("ada"));
        for found in [None, Some(off(s.key.clone()))] {
            s.renew(&s.reads_now());
            let snap = s.cache.fence.snap();
            s.settled(s.renewed());
            assert_eq!(s.known().map(|known| known.0), Some(s.renewed()));
            let later = s.clock.monotonic().after(Duration::from_secs(1));
            let late = Slot::new(&s.cache.fence, *s.key.digest(), found, snap, later);
            let late = s.cache.publish(late);
            assert!(!late.is_current(&s.cache.fence), "who waits for it reads again");
            assert_eq!(s.known(), None);
            s.cache.flush();
        }
    }
}
