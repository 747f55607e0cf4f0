//! What each thread knows by itself of the keys that it meets often: no hash of the store's, no map,
//! nothing that another thread writes.
//!
//! # Rules
//! 1. A thread's table holds slots that it found current, each under a fingerprint of its token. It only
//!    ever admits: whatever it can't admit goes the shared way, which alone refuses.
//! 2. A hit loads the fence's clock after it began. If that shows the time that the entry was checked
//!    at, nothing at all was revoked since, nor has a change become suspect, as both move the clock
//!    before they return. Otherwise the entry is checked as any slot is: suspects, lease, stamps. The
//!    time that is noted was loaded *before* the check, so that what is revoked during it moves the
//!    clock past it.
//! 3. An entry has one end, of whatever needs the shared way first: the end of the slot's life, its
//!    refresh, the access recorder's moment, and a second at most, so that the key's use is seen by the
//!    table that all share, and a refreshed slot is found. No check moves the end farther off. What can
//!    bring it nearer (a loss of the feed) moves the fence's clock as well.
//! 4. A hit reads both clocks, each as of its last tick, and asks whether they lie in the entry's time,
//!    which begins when it was made. The calendar is there for keys that expire, and for machines that
//!    slept while the monotonic clock stood still. Within [`TICK_LAG`] of an end that must not be
//!    overstepped (of a slot's life, of a key's) the shared way is taken, which reads the clocks
//!    themselves.
//! 5. Flags of key and owner are in the slot and never change; only a usable key's makes an entry.
//! 6. Tables of all threads have 65,536 entries together at most, one of them 4,096. A thread that finds no
//!    room goes the shared way, and so does a token of more than 256 bytes. A thread that ends gives its room back; an entry that is over, or of an
//!    authenticator that is gone, stays until its place is needed or the thread ends. Only what was
//!    admitted is noted: junk takes no room and nobody's place.
//! 7. No table is borrowed while anything of the user's runs: what was displaced is dropped behind the
//!    borrow. Where the table can't be had (its thread is ending, or the user's own `Drop` came back here)
//!    the shared way is taken.
//! 8. A thread holds no slot that no table holds any more, or one that took its place: else a read that
//!    finds a change made elsewhere would have nothing to end. What is evicted is revoked if a thread may
//!    hold it.
//!
//! # Why a fingerprint is enough
//! It is a universal hash of 128 bits, under keys that the system's random generator drew for this cache
//! alone and that never leave it. To pass for a key that a thread knows, a token would have to have the
//! fingerprint of one of at most 4,096, and any other token has that with a probability of 2⁻¹¹⁶, whoever
//! chose it and however: see [`fingerprint`]. A million guesses a second would take some 10²¹ years.
//! Guesses can be made in requests only, one at a time; an answer tells no more than that a guess was wrong.
//! So this is weaker than the token, of which a knox one has 256 bits, and out of reach all the same.
//!
//! What could be learnt of a fingerprint at all, by how long answers take, is whether two tokens belong to
//! one set of a table: ten bits of the one half. The other half has keys of its own and is compared, nothing
//! else: even for who knew all keys of the first one, a guess would pass with a probability of 2⁻⁶⁴ for each of
//! the four entries of a set. The digest by which the store knows a token is another matter, as whoever reads
//! the database sees it: that is a cryptographic hash.
//!
//! The token itself is in no table, and can't be told from a fingerprint without the keys.

mod budget;
mod entry;
mod fingerprint;
mod table;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, sync::Arc, time::Duration};

use self::{
    budget::ALL_THREADS,
    entry::{CacheId, Entry, Validity},
    fingerprint::{Fingerprint, FingerprintKey},
    table::Table,
};
use super::{Cache, Slot, fence::Snap};
use crate::value::{
    clock::{Clock, Reading, TICK_LAG, Tick},
    key::{Record, SharedRecord},
};

#[cfg(not(any(token_auth_loom, token_auth_shuttle)))]
thread_local! {
    static TABLE: RefCell<Table> = const { RefCell::new(Table::new(&ALL_THREADS)) };
}
#[cfg(token_auth_loom)]
loom::thread_local! {
    static TABLE: RefCell<Table> = RefCell::new(Table::new(&ALL_THREADS));
}
#[cfg(token_auth_shuttle)]
shuttle::thread_local! {
    static TABLE: RefCell<Table> = RefCell::new(Table::new(&ALL_THREADS));
}

/// One cache's part in the tables of all threads.
pub(super) struct Front {
    id: CacheId,
    /// Apart, as it is as large as all else of a cache together.
    key: Box<FingerprintKey>,
}

/// What this thread knows of a token.
pub(crate) enum Sight {
    /// It is this key's, which may be used now.
    Known(SharedRecord),
    /// Nothing. Whoever then admits it has the thread [note](Cache::note) that, or [keep](Cache::keep) it.
    Unknown(Option<Sighting>),
}

/// A token that this thread did not know.
#[derive(Clone, Copy)]
pub(crate) struct Sighting {
    print: Fingerprint,
    /// When, and at which time of the fence: from before its slot is looked at.
    now: Tick,
    clock: Snap,
    /// Whether it was admitted here before, so that it is to be known from now on.
    pub(crate) is_wanted: bool,
}

impl Front {
    /// `None` where the system has no random numbers, or no clocks that tick, or no number is left to tell
    /// caches apart by.
    pub(super) fn new(clock: &Clock) -> Option<Self> {
        if !clock.has_ticks() {
            return None;
        }
        Some(Self { id: CacheId::take()?, key: FingerprintKey::random()? })
    }

    /// Has this thread let go of a token, if it knows it: its entry is over.
    #[cold]
    fn forget(&self, print: Fingerprint) {
        let remove = |table: &RefCell<Table>| table.try_borrow_mut().ok()?.remove(print, self.id);
        drop(TABLE.try_with(remove));
    }
}

impl Cache {
    /// What this thread knows of a token by itself. No lock, no shared write, no await.
    #[inline]
    pub(crate) fn sight(&self, token: &[u8]) -> Sight {
        let Some(front) = &self.front else { return Sight::Unknown(None) };
        let Some(print) = front.key.of(token) else { return Sight::Unknown(None) };
        let (now, clock) = (self.clock.tick(), self.fence.snap());
        let mut sighting = Sighting { print, now, clock, is_wanted: false };
        let known = TABLE.try_with(|table| {
            let mut table = table.try_borrow_mut().ok()?;
            let Some(entry) = table.find(print, front.id) else {
                sighting.is_wanted = table.has_knocked(print);
                return None;
            };
            if entry.holds_at(now)
                && (entry.was_checked_at(clock) || self.still_holds(entry, &sighting))
            {
                return Some(entry.use_it());
            }
            sighting.is_wanted = true;
            None
        });
        if let Ok(Some(record)) = known {
            return Sight::Known(record);
        }
        if sighting.is_wanted {
            front.forget(print);
        }
        Sight::Unknown(Some(sighting))
    }

    /// Has this thread note that a token was admitted, so that it is to be known if it comes again.
    pub(crate) fn note(sighting: &Sighting) {
        // Where there is no table there is nothing to be noted.
        let _noted = TABLE.try_with(|table| {
            if let Ok(mut table) = table.try_borrow_mut() {
                table.knock(sighting.print);
            }
        });
    }

    /// Has this thread know a token by the slot that was just found for it, if that will last. It was
    /// admitted by that slot's record, or by one that differs from it by a later expiry.
    pub(crate) fn keep(&self, sighting: &Sighting, slot: &Arc<Slot>, now: &Reading) {
        let (Some(front), Some(record)) = (&self.front, slot.record()) else { return };
        // Then eviction ends it here as well (rule 8).
        slot.put_in_fronts();
        if !self.present.holds(slot) {
            return;
        }
        let Some(validity) = self.validity_of(slot, record, sighting, now) else { return };
        let entry = Entry::new(sighting.print, front.id, validity, Arc::clone(slot), record);
        let put = |table: &RefCell<Table>| table.try_borrow_mut().ok()?.put(entry, sighting.now);
        drop(TABLE.try_with(put));
    }

    /// The fence's time has moved on: whether that was for the sake of others.
    #[cold]
    fn still_holds(&self, entry: &mut Entry, sighting: &Sighting) -> bool {
        let slot = entry.slot();
        let Some(record) = slot.record() else { return false };
        let validity = self.validity_of(slot, record, sighting, &self.clock.read());
        validity.map(|validity| entry.check_again(validity)).is_some()
            && entry.holds_at(sighting.now)
    }

    /// For how long a slot may be used by one thread alone, if it may at all. `now` was read behind the
    /// sighting.
    fn validity_of(
        &self,
        slot: &Slot,
        record: &Record,
        sighting: &Sighting,
        now: &Reading,
    ) -> Option<Validity> {
        // Before the stamps are looked at, as everywhere; the lease too.
        if self.suspects.hold(slot.digest(), Some(record)) {
            return None;
        }
        let term = self.term(slot);
        let refresh = match term.refresh_from {
            from if now.monotonic < from => from,
            // Somebody sees to it already.
            _ => slot.claimed_until(),
        };
        let end = term.deadline.before(TICK_LAG).min(refresh).min(slot.due_at());
        let left = end.since(now.monotonic).min(self.left_of(record, slot, sighting));
        let holds = !left.is_zero() && slot.is_current(&self.fence);
        let (checked, from) = (sighting.clock, sighting.now);
        holds.then_some(Validity { checked, from, span: left })
    }

    /// For how long the calendar need not be read exactly, as the key will not have expired, nor will a use
    /// of it have an expiry to move on.
    fn left_of(&self, record: &Record, slot: &Slot, sighting: &Sighting) -> Duration {
        let key = record.key();
        let Some(expires_at) = key.expires_at() else { return Duration::MAX };
        let slide = self.slide.filter(|_| slot.may_slide());
        let slides_from = slide.and_then(|slide| slide.concerns_from(key));
        let first = slides_from.map_or(expires_at, |from| from.min(expires_at));
        sighting.now.until(first).saturating_sub(TICK_LAG)
    }
}
