//! A thread's own table: sets of four entries, which begin small and grow with what is used.

use std::mem;

use super::{
    budget::Room,
    entry::{CacheId, Entry},
    fingerprint::Fingerprint,
};

/// How many entries share a place: they stand in four cache lines that follow each other.
const WAYS: usize = 4;
/// A table begins with 64 entries, 4 KiB: enough for a thread that serves a few keys.
const FIRST_SETS: usize = 16;
/// And ends with 4,096: more keys than that are rarely hot on one thread, and their table would leave
/// nothing of a core's cache to the service.
const MOST_SETS: usize = 1_024;
/// By how much it grows, so that it grows three times at most.
const GROWTH: usize = 4;

/// A thread's table. Nobody else ever sees it.
pub(super) struct Table {
    /// `WAYS` for each set. Empty until a token came twice.
    entries: Vec<Option<Entry>>,
    /// One for each set.
    doors: Vec<Door>,
    /// How many entries had to go for others since the table grew last.
    crowding: usize,
    room: Room,
}

/// What a set remembers of those that do not stand in it.
#[derive(Clone, Copy, Default)]
struct Door {
    /// Who came last and was not let in: one that comes twice is. So a key that comes once in a long
    /// time, of which there may be a million, makes no entry and takes nobody's place.
    last: u64,
    /// The way from which the next search for a place begins.
    hand: u8,
}

impl Table {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), doors: Vec::new(), crowding: 0, room: Room::none() }
    }

    /// The entry of this fingerprint, if there is one.
    #[inline]
    pub(super) fn find(&mut self, print: Fingerprint, cache: CacheId) -> Option<&mut Entry> {
        let first = WAYS * self.set(print)?;
        let set = &mut self.entries[first..first + WAYS];
        set.iter_mut().flatten().find(|entry| entry.is_of(print, cache))
    }

    /// Whether this fingerprint was the last one to knock in vain; from now on it is.
    pub(super) fn knock(&mut self, print: Fingerprint) -> bool {
        if self.doors.is_empty() && !self.grow() {
            return false;
        }
        let Some(set) = self.set(print) else { return false };
        mem::replace(&mut self.doors[set].last, print.tag()) == print.tag()
    }

    /// Puts an entry in its place, and answers with the one that stood there: to be dropped where
    /// nothing is borrowed, as a record may hold what is the user's own.
    pub(super) fn put(&mut self, entry: Entry) -> Option<Entry> {
        let set = self.set(entry.print())?;
        let ways = &mut self.entries[WAYS * set..][..WAYS];
        let own = ways.iter().position(|way| {
            way.as_ref().is_none_or(|standing| standing.is_of(entry.print(), entry.cache()))
        });
        if let Some(way) = own {
            return ways[way].replace(entry);
        }
        let hand = &mut self.doors[set].hand;
        let way = loop {
            let at = usize::from(*hand) % WAYS;
            *hand = hand.wrapping_add(1);
            // As in the table that all threads share: who was used since is spared once.
            if !ways[at].as_mut().is_some_and(Entry::forget_use) {
                break at;
            }
        };
        let victim = ways[way].replace(entry);
        self.crowding += 1;
        if self.crowding > self.entries.len() {
            self.grow();
        }
        victim
    }

    /// Takes out the entry of a fingerprint.
    pub(super) fn remove(&mut self, print: Fingerprint, cache: CacheId) -> Option<Entry> {
        let first = WAYS * self.set(print)?;
        let set = &mut self.entries[first..first + WAYS];
        set.iter_mut().find_map(|way| way.take_if(|entry| entry.is_of(print, cache)))
    }

    #[inline]
    fn set(&self, print: Fingerprint) -> Option<usize> {
        // The number of sets is a power of two, or none.
        Some(print.place() & self.doors.len().checked_sub(1)?)
    }

    /// Makes the table larger, if there is room in all; whether it did.
    #[cold]
    fn grow(&mut self) -> bool {
        self.crowding = 0;
        let (before, sets) = match self.doors.len() {
            0 => (0, FIRST_SETS),
            MOST_SETS => return false,
            sets => (sets, sets * GROWTH),
        };
        if !self.room.grow(WAYS * (sets - before)) {
            return false;
        }
        let wider = (0..WAYS * sets).map(|_| None).collect();
        let old = mem::replace(&mut self.entries, wider);
        self.doors = vec![Door::default(); sets];
        for entry in old.into_iter().flatten() {
            // Four stood in a set that is four now: there is a place for each.
            let displaced = self.put(entry);
            debug_assert!(displaced.is_none());
        }
        true
    }
}
