//! Putting what a read found where others find it.

use std::sync::Arc;

use super::{Cache, slot::Slot};

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
            if old.is_newer_than(&slot) {
                return old;
            }
            if !old.same_standing(&slot)
                && old.is_current(&self.fence)
                && let Some(snap) = self.fence.supersede(old.stripes(), slot.stripes(), slot.snap())
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
        let standing = own.put(slot);
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
