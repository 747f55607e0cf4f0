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
//! 3. An entry has one deadline, of whatever needs the shared way first: the end of the slot's life, its
//!    refresh, the access recorder's moment, and a second at most, so that the key's use is seen by the
//!    table that all share, and a refreshed slot is found. What can move that end to an earlier time
//!    (a loss of the feed) moves the fence's clock as well.
//! 4. A hit reads one clock, the calendar as of its last tick, and asks whether that lies in the entry's
//!    time, which begins when it was checked. Expiry is judged by it at every hit as long as it is further
//!    off than a tick can be wrong by, and after that on the shared way, by the clock itself. A calendar
//!    that was set back to before that time, or forward, as when the machine slept, ends the entry: the
//!    shared way then finds that the clocks have drifted apart. One that was set back by less lengthens an
//!    entry's time by less than that time, which its end leaves room for.
//! 5. Flags of key and owner are in the slot and never change; only a usable key's makes an entry.
//! 6. Tables of all threads have 65,536 entries together at most, one of them 4,096. A thread that finds no
//!    room goes the shared way. A thread that ends gives its room back; an entry of an authenticator that
//!    is gone stays until its place is needed or the thread ends.
//! 7. No table is borrowed while anything of the user's runs: what was displaced is dropped behind the
//!    borrow. Where the table can't be had (its thread is ending, or the user's own `Drop` came back here)
//!    the shared way is taken.
//!
//! # Why a fingerprint is enough
//! It is SipHash-1-3 with 128 bits, under a key that the system's random generator made for this cache
//! alone and that never leaves it. To pass for a token that a thread knows, another one would have to
//! have its fingerprint. Whoever does not know the key can do no better than guess, as far as anybody has
//! shown: a guess is compared with the four entries of one set, so that it succeeds with a probability of
//! 4 in 2¹²⁸, about 10⁻³⁸. Guesses can't be made offline, nor prepared: no fingerprint is ever shown, none
//! is the same in another process or cache, and the answer to a guess tells no more than that it was
//! wrong. The time of an answer may tell whether some token was met lately, not which.
//!
//! SipHash was made as a MAC with two rounds a word and four at the end. One round a word and three at
//! the end, as in the hash tables of Rust's standard library, leave less of a margin to whoever sees
//! outputs, and are quicker by the fifth part of a hit. Here nobody sees any, nor two that collide. The
//! digest by which the store knows a token is another matter: it is seen by whoever reads the database.
//!
//! The token itself is in no table, and can't be told from a fingerprint without the key.

mod budget;
mod entry;
mod fingerprint;
mod table;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, sync::Arc, time::Duration};

use self::{
    budget::ALL_THREADS,
    entry::{CacheId, Entry, Standing},
    fingerprint::{Fingerprint, FingerprintKey},
    table::Table,
};
use super::{Cache, Slot, fence::Snap};
use crate::value::{
    clock::{Reading, TICK_LAG, Tick},
    key::{Record, SharedRecord},
};

/// The longest time for which a thread goes by its own table alone: once a second the shared one sees
/// that a key is in use, and does not take it for one that is not.
const LONGEST: Duration = Duration::from_secs(1);
/// By how much earlier than a slot a thread's entry ends: a tick may be behind, and the calendar, by which
/// an entry's time is measured, may be set back in it, by less than the entry's time so far.
const MARGIN: Duration = TICK_LAG.saturating_add(LONGEST);

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
    key: FingerprintKey,
}

/// What this thread knows of a token.
pub(crate) enum Sight {
    /// It is this key's, which may be used now.
    Known(SharedRecord),
    /// Nothing; a sighting if it is to be known the next time.
    Unknown(Option<Sighting>),
}

/// A token that this thread has seen before.
#[derive(Clone, Copy)]
pub(crate) struct Sighting {
    print: Fingerprint,
    /// When, and at which time of the fence: from before its slot is looked at.
    now: Tick,
    clock: Snap,
}

impl Front {
    /// `None` where the system has no random numbers, or no number is left to tell caches apart by.
    pub(super) fn new() -> Option<Self> {
        Some(Self { id: CacheId::take()?, key: FingerprintKey::random()? })
    }
}

impl Cache {
    /// What this thread knows of a token by itself. No lock, no shared write, no await.
    #[inline]
    pub(crate) fn sight(&self, token: &[u8]) -> Sight {
        let Some(front) = &self.front else { return Sight::Unknown(None) };
        let print = front.key.of(token);
        let (now, clock) = (self.clock.tick(), self.fence.snap());
        let sighting = Sighting { print, now, clock };
        let (mut is_wanted, mut outdated) = (false, None);
        let known = TABLE.try_with(|table| {
            let mut table = table.try_borrow_mut().ok()?;
            let Some(entry) = table.find(print, front.id) else {
                is_wanted = table.knock(print);
                return None;
            };
            if entry.standing.holds_at(now)
                && (entry.standing.checked == clock || self.still_holds(entry, &sighting))
            {
                return Some(entry.use_it());
            }
            is_wanted = true;
            outdated = table.remove(print, front.id);
            None
        });
        drop(outdated);
        match known {
            Ok(Some(record)) => Sight::Known(record),
            Ok(None) | Err(_) => Sight::Unknown(is_wanted.then_some(sighting)),
        }
    }

    /// Has this thread know a token by the slot that was just found for it, if that will last. The slot's
    /// record was found usable at `now`, and the token was seen before.
    pub(crate) fn keep(&self, sighting: &Sighting, slot: &Arc<Slot>, now: &Reading) {
        let (Some(front), Some(record)) = (&self.front, slot.record()) else { return };
        let Some(standing) = self.standing_of(slot, record, sighting, now) else { return };
        let entry = Entry::new(sighting.print, front.id, standing, Arc::clone(slot), record);
        let displaced = TABLE.try_with(|table| table.try_borrow_mut().ok()?.put(entry));
        drop(displaced);
    }

    /// The fence's time has moved on: whether that was for the sake of others.
    #[cold]
    fn still_holds(&self, entry: &mut Entry, sighting: &Sighting) -> bool {
        let Some(record) = entry.slot.record() else { return false };
        let standing = self.standing_of(&entry.slot, record, sighting, &self.clock.read());
        standing.map(|standing| entry.standing = standing).is_some()
    }

    /// For how long a slot may be used by one thread alone, if it may at all. `now` was read behind the
    /// sighting.
    fn standing_of(
        &self,
        slot: &Slot,
        record: &Record,
        sighting: &Sighting,
        now: &Reading,
    ) -> Option<Standing> {
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
        let end = term.deadline.before(MARGIN).min(refresh).min(slot.due_at());
        let left = end.since(now.monotonic).min(LONGEST).min(self.left_of(record, slot, sighting));
        let holds = !left.is_zero() && slot.is_current(&self.fence);
        let (checked, from) = (sighting.clock, sighting.now);
        holds.then(|| Standing { checked, from, span: left.into() })
    }

    /// For how long the calendar need not be read, as the key will not have expired, nor will a use of it
    /// have an expiry to move on.
    fn left_of(&self, record: &Record, slot: &Slot, sighting: &Sighting) -> Duration {
        if !sighting.now.is_told() {
            return Duration::ZERO;
        }
        let key = record.key();
        let Some(expires_at) = key.expires_at() else { return Duration::MAX };
        let slide = self.slide.filter(|_| slot.may_slide());
        let slides_from = slide.and_then(|slide| slide.concerns_from(key));
        let first = slides_from.map_or(expires_at, |from| from.min(expires_at));
        sighting.now.until(first).saturating_sub(TICK_LAG)
    }
}
