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
            slot = slot.inheriting(&old);
        }
        let slot = Arc::new(slot);
        // A revocation between this check and the next line does no harm: it outdates the slot,
        // and presence in a table proves nothing.
        if !slot.is_current(&self.fence) {
            return slot;
        }
        let table = if slot.record().is_some() { &self.present } else { &self.absent };
        table.put(slot)
    }
}
