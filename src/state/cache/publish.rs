//! Putting what a read found where others find it.

use std::sync::Arc;

use super::{Cache, slot::Slot, table::Put};
use crate::value::subject::Subject;

impl Cache {
    /// Publishes a slot unless it is outdated, and answers with the one to be used in its place: a
    /// newer read's, if one is there. Whoever uses it checks it against the fence first.
    ///
    /// If it tells something else than the slot that stands for the same digest, a change was made
    /// elsewhere and this read is how we learn of it. Then the older slot is revoked, not merely
    /// replaced, as it may be held outside the tables (rule 10).
    pub(super) fn publish(&self, slot: Slot) -> Arc<Slot> {
        // What is suspect is not kept; who waits for it is told so.
        if self.suspects.hold(slot.digest(), slot.record().map(Arc::as_ref)) {
            return Arc::new(slot);
        }
        let mut slot = slot;
        for table in [&self.present, &self.absent] {
            let Some(old) = table.peek(slot.digest()) else { continue };
            let is_tied = old.loaded_at() == slot.loaded_at();
            if !is_tied && old.is_newer_than(&slot) {
                return self.later_of(old, slot);
            }
            if old.same_standing(&slot) || !old.is_current(&self.fence) {
                continue;
            }
            if is_tied {
                // Both began at one moment, and nobody can tell which of them looked first; the
                // snaps can't, as one may have been moved on here. So neither is relied on, and who
                // waits for this one reads again.
                self.fence.revoke(&[Subject::Digest(*slot.digest())]);
            } else if let Some(snap) =
                self.fence.supersede(old.stripes(), slot.stripes(), slot.snap())
            {
                slot = slot.with_snap(snap);
            }
        }
        let slot = Arc::new(slot);
        // A revocation between this check and the next line does no harm: it outdates the slot,
        // and presence in a table proves nothing.
        if !slot.is_current(&self.fence) {
            return slot;
        }
        let (own, other) = match slot.record() {
            Some(_) => (&self.present, &self.absent),
            None => (&self.absent, &self.present),
        };
        let Put { standing, replaced, evicted } = own.put(slot);
        // What no table holds any more no read can end: so no thread may either.
        if let Some(evicted) = evicted.filter(|evicted| evicted.is_in_fronts()) {
            self.fence.revoke(&[Subject::Digest(*evicted.digest())]);
        }
        // Likewise of the same table: one that was put there since the look above, and that a thread may
        // hold by itself. Its key's stamp ends both, and who waits for this one reads again.
        if let Some(older) = replaced
            && !older.same_standing(&standing)
            && older.is_current(&self.fence)
        {
            self.fence.supersede(older.stripes(), standing.stripes(), standing.snap());
        }
        // A read of the same digest may have put its word into the other table since the look
        // above, which this one then missed, or which missed this one. A present slot that is the
        // older of the two would be found first, and go on being used.
        match other.peek(standing.digest()) {
            Some(other) if other.is_newer_than(&standing) => self.end(&standing, other),
            Some(other) => self.end(&other, standing),
            None => standing,
        }
    }

    /// Revokes `older`, if it is a present slot that still counts; answers with `newer`.
    fn end(&self, older: &Slot, newer: Arc<Slot>) -> Arc<Slot> {
        if older.record().is_some() && newer.record().is_none() && older.is_current(&self.fence) {
            self.fence.supersede(older.stripes(), newer.stripes(), newer.snap());
        }
        newer
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        state::{cache::CacheSettings, store::MemoryStore},
        value::{
            clock::Clock,
            digest::{DigestAlgorithm, TokenDigest},
            key::{ApiKey, KeyId, Record},
            meter::Meter,
            owner::Owner,
        },
    };

    fn cache() -> Cache {
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
        Cache::new(Arc::new(MemoryStore::new()), Clock::system(), &settings, Meter::default())
    }

    /// What a read may have found of a token: no key, one that is switched off, one that is not.
    fn findings() -> (TokenDigest, [Option<Record>; 3]) {
        let digest = TokenDigest::of(DigestAlgorithm::Sha256, "token");
        let key = ApiKey::new(KeyId::random(), digest, "ada".into(), chrono::DateTime::UNIX_EPOCH);
        let record = |is_active| Record::new(key.clone().with_active(is_active), Owner::new("ada"));
        (digest, [None, Some(record(false)), Some(record(true))])
    }

    /// Two reads that began within one reading of the clock, one before and one after a change that
    /// nobody told of, and perhaps both after one that the first of them is the first to tell: the
    /// older of them must not be found, whichever lands last.
    ///
    /// Seen to fail with the one that lands last in the other's place, and, behind what was known,
    /// with only the other one outdated, and with a tie that the snaps are part of.
    #[test]
    fn of_two_reads_that_began_at_one_moment_neither_is_relied_on() {
        let (digest, findings) = findings();
        let all = 0..findings.len();
        let pairs = all.clone().flat_map(|first| all.clone().map(move |last| (first, last)));
        for (first, last) in pairs {
            for known in [None, Some(&findings[(first + 1) % findings.len()])] {
                let (cache, now) = (cache(), Clock::system().read());
                let snap = cache.fence.snap();
                let read = |found: &Option<Record>, seconds, snap| {
                    let at = now.monotonic.after(Duration::from_secs(seconds));
                    cache.publish(Slot::new(&cache.fence, digest, found.clone(), snap, at))
                };
                known.map(|known| read(known, 0, snap));
                let early = read(&findings[first], 1, snap);
                let late = read(&findings[last], 1, snap);
                let is_one = first == last;
                let shown = format!("{first}, then {last}, known: {}", known.is_some());
                assert_eq!(cache.lookup(&digest, &now, false).is_some(), is_one, "{shown}");
                assert_eq!(early.is_current(&cache.fence), is_one, "{shown}");
                assert!(is_one || !late.is_current(&cache.fence), "{shown}");
                let again = read(&findings[last], 2, cache.fence.snap());
                assert!(again.is_current(&cache.fence), "{shown}");
                assert!(cache.lookup(&digest, &now, false).is_some(), "{shown}");
            }
        }
    }
}
