//! One key as one thread knows it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use super::fingerprint::Fingerprint;
use crate::{
    state::cache::{fence::Snap, slot::Slot},
    value::{
        clock::Tick,
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

/// For how long a slot may be used without another look at it.
#[derive(Clone, Copy)]
pub(super) struct Validity {
    /// The fence's time before the slot was found current: as long as it is this time, the slot is.
    pub(super) checked: Snap,
    /// When that was.
    pub(super) from: Tick,
    /// For how long it holds from then on, but for [`LONGEST`].
    pub(super) span: Duration,
}

/// One key as one thread knows it: a cache line.
#[repr(align(64))]
pub(super) struct Entry {
    print: Fingerprint,
    cache: CacheId,
    /// Nanoseconds, and in the highest bit whether it was used since [`forget_use`](Self::forget_use).
    span_and_use: u32,
    checked: Snap,
    from: Tick,
    slot: Arc<Slot>,
    /// This thread's own count.
    own: SharedRecord,
}

const USED: u32 = 1 << 31;
/// The longest time for which a thread goes by its own table alone: once a second the shared one sees
/// that a key is in use, and does not take it for one that is not.
const LONGEST: Duration = Duration::from_secs(1);

impl Entry {
    pub(super) fn new(
        print: Fingerprint,
        cache: CacheId,
        validity: Validity,
        slot: Arc<Slot>,
        record: &Arc<Record>,
    ) -> Self {
        let Validity { checked, from, span } = validity;
        let own = SharedRecord::new(Arc::clone(record));
        Self { print, cache, span_and_use: nanos(span), checked, from, slot, own }
    }

    pub(super) fn print(&self) -> Fingerprint {
        self.print
    }

    pub(super) fn cache(&self) -> CacheId {
        self.cache
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    #[inline]
    pub(super) fn is_of(&self, print: Fingerprint, cache: CacheId) -> bool {
        self.print == print && self.cache == cache
    }

    #[inline]
    pub(super) fn holds_at(&self, now: Tick) -> bool {
        now.is_within(self.from, u64::from(self.span_and_use & !USED))
    }

    /// Whether nothing at all was revoked since it was checked.
    #[inline]
    pub(super) fn was_checked_at(&self, clock: Snap) -> bool {
        self.checked == clock
    }

    /// It was checked anew. That moves its end nearer, perhaps, and never farther off: else a fence that
    /// is busy would keep a thread from the shared way for ever.
    pub(super) fn check_again(&mut self, validity: Validity) {
        self.checked = validity.checked;
        let used = self.span_and_use & USED;
        self.span_and_use = used | (self.span_and_use & !USED).min(nanos(validity.span));
    }

    #[inline]
    pub(super) fn use_it(&mut self) -> SharedRecord {
        self.span_and_use |= USED;
        self.own.clone()
    }

    /// Whether it was used since this was last asked.
    pub(super) fn forget_use(&mut self) -> bool {
        let was_used = self.span_and_use & USED != 0;
        self.span_and_use &= !USED;
        was_used
    }
}

/// Which leaves the highest bit free.
fn nanos(span: Duration) -> u32 {
    span.min(LONGEST).subsec_nanos() + if span < LONGEST { 0 } else { 1_000_000_000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_second_at_most() {
        let spans = [0, 1, 999_999_999, 1_000_000_000, 1_000_000_001, u64::MAX];
        let kept = spans.map(|span| nanos(Duration::from_nanos(span)));
        assert_eq!(kept, [0, 1, 999_999_999, 1_000_000_000, 1_000_000_000, 1_000_000_000]);
    }

    #[test]
    fn an_entry_fills_a_cache_line() {
        assert_eq!(size_of::<Option<Entry>>(), 64);
    }
}
