//! One key as one thread knows it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::fingerprint::Fingerprint;
use crate::{
    state::cache::{fence::Snap, slot::Slot},
    value::{
        clock::{Span, Tick},
        key::{Record, SharedRecord},
    },
};

/// Tells one cache from all others that this process ever makes: an address may be given out again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheId(u32);

impl CacheId {
    /// One that was never given out; `None` when all were.
    pub(super) fn take() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: it is a number and nothing else.
        let (ok, or) = (Ordering::Relaxed, Ordering::Relaxed);
        NEXT.fetch_update(ok, or, |next| next.checked_add(1)).ok().map(Self)
    }
}

/// One key as one thread knows it.
#[repr(align(64))]
pub(super) struct Entry {
    print: Fingerprint,
    cache: CacheId,
    was_used: bool,
    pub(super) standing: Standing,
    pub(super) slot: Arc<Slot>,
    /// This thread's own count.
    own: SharedRecord,
}

/// For how long an entry may be used without another look at its slot.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    /// The fence's time before the slot was found current: as long as it is this time, the slot is.
    pub(super) checked: Snap,
    /// When that was.
    pub(super) from: Tick,
    /// For how long it holds from then on.
    pub(super) span: Span,
}

impl Standing {
    #[inline]
    pub(super) fn holds_at(&self, now: Tick) -> bool {
        now.is_within(self.from, self.span)
    }
}

impl Entry {
    pub(super) fn new(
        print: Fingerprint,
        cache: CacheId,
        standing: Standing,
        slot: Arc<Slot>,
        record: &Arc<Record>,
    ) -> Self {
        let own = SharedRecord::new(Arc::clone(record));
        Self { print, cache, was_used: false, standing, slot, own }
    }

    pub(super) fn print(&self) -> Fingerprint {
        self.print
    }

    pub(super) fn cache(&self) -> CacheId {
        self.cache
    }

    #[inline]
    pub(super) fn is_of(&self, print: Fingerprint, cache: CacheId) -> bool {
        self.print == print && self.cache == cache
    }

    #[inline]
    pub(super) fn use_it(&mut self) -> SharedRecord {
        self.was_used = true;
        self.own.clone()
    }

    /// Whether it was used since this was last asked.
    pub(super) fn forget_use(&mut self) -> bool {
        std::mem::take(&mut self.was_used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_fills_a_cache_line() {
        assert_eq!(size_of::<Option<Entry>>(), 64);
    }
}
