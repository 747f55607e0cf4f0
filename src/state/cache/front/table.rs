//! A thread's own table: sets of four entries, which begin small and grow with what is used.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    budget::{Budget, Room},
    entry::{CacheId, Entry},
    fingerprint::Fingerprint,
};
use crate::value::clock::Tick;

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
    /// `WAYS` for each set. Empty until a token was admitted on this thread.
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
    /// Who was admitted last and had no entry: one that comes again is let in. So a key that comes once in
    /// a long time, of which there may be a million, makes no entry and takes nobody's place; and what is
    /// no key at all is not even noted.
    last: u64,
    /// The way from which the next search for a place begins.
    hand: u8,
}

impl Table {
    pub(super) const fn new(budget: &'static Budget) -> Self {
        let room = Room::none(budget);
        Self { entries: Vec::new(), doors: Vec::new(), crowding: 0, room }
    }

    /// The entry of this fingerprint, if there is one.
    #[inline]
    pub(super) fn find(&mut self, print: Fingerprint, cache: CacheId) -> Option<&mut Entry> {
        let first = WAYS * self.set(print)?;
        let set = &mut self.entries[first..first + WAYS];
        set.iter_mut().flatten().find(|entry| entry.is_of(print, cache))
    }

    /// Whether this fingerprint was the last one to knock at its set.
    #[inline]
    pub(super) fn has_knocked(&self, print: Fingerprint) -> bool {
        self.set(print).is_some_and(|set| self.doors[set].last == print.tag())
    }

    /// Notes that this fingerprint's token was admitted, and would be let in if it comes again.
    pub(super) fn knock(&mut self, print: Fingerprint) {
        if self.doors.is_empty() && !self.grow() {
            return;
        }
        if let Some(set) = self.set(print) {
            self.doors[set].last = print.tag();
        }
    }

    /// Puts an entry in its place, and answers with the one that stood there: to be dropped where
    /// nothing is borrowed, as a record may hold what is the user's own.
    pub(super) fn put(&mut self, entry: Entry, now: Tick) -> Option<Entry> {
        let Some(set) = self.set(entry.print()) else { return Some(entry) };
        let ways = &mut self.entries[WAYS * set..][..WAYS];
        let is_own = |way: &Option<Entry>| {
            way.as_ref().is_some_and(|other| other.is_of(entry.print(), entry.cache()))
        };
        let own = ways.iter().position(is_own);
        let free = || ways.iter().position(Option::is_none);
        // What is over holds on to a record that may be in no other place.
        let is_over = |way: &Option<Entry>| way.as_ref().is_some_and(|other| !other.holds_at(now));
        let over = || ways.iter().position(is_over);
        if let Some(way) = own.or_else(free).or_else(over) {
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
        for (place, entry) in old.into_iter().enumerate() {
            // What stood in one set stands in several now, and those hold nothing else: each keeps its way.
            let Some(entry) = entry else { continue };
            let set = entry.print().place() & (sets - 1);
            self.entries[WAYS * set + place % WAYS] = Some(entry);
        }
        true
    }
}

impl Drop for Table {
    /// When its thread ends. What a user's own data does when it is dropped may fail there, where much is
    /// gone already, and a panic would end the process.
    fn drop(&mut self) {
        for entry in self.entries.drain(..) {
            let _others_are_dropped_all_the_same = catch_unwind(AssertUnwindSafe(|| drop(entry)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        state::cache::{
            fence::Fence,
            front::{entry::Validity, fingerprint::FingerprintKey},
            slot::Slot,
        },
        value::{
            clock::{Clock, Monotonic},
            digest::{DigestAlgorithm, TokenDigest},
            key::{ApiKey, KeyId, Record},
            owner::Owner,
        },
    };

    struct Maker {
        key: Box<FingerprintKey>,
        cache: CacheId,
        slot: Arc<Slot>,
        now: Tick,
    }

    impl Maker {
        fn new() -> Self {
            let fence = Fence::for_capacity(1);
            let digest = TokenDigest::of(DigestAlgorithm::Sha256, "token");
            let at = chrono::DateTime::UNIX_EPOCH;
            let key = ApiKey::new(KeyId::random(), digest, "ada".into(), at);
            let record = Some(Record::new(key, Owner::new("ada")));
            let slot = Slot::new(&fence, digest, record, fence.snap(), Monotonic::from_nanos(1));
            let key = FingerprintKey::random().unwrap();
            let (cache, now) = (CacheId::take().unwrap(), Clock::system().tick());
            Self { key, cache, slot: Arc::new(slot), now }
        }

        fn print(&self, number: usize) -> Fingerprint {
            self.key.of(number.to_string().as_bytes()).unwrap()
        }

        fn entry(&self, number: usize) -> Entry {
            let validity = Validity {
                checked: Fence::for_capacity(1).snap(),
                from: self.now,
                span: std::time::Duration::from_secs(1),
            };
            let record = self.slot.record().unwrap();
            Entry::new(self.print(number), self.cache, validity, Arc::clone(&self.slot), record)
        }
    }

    /// Seen to fail with a table that forgets what it held when it grows, and with one that grows without
    /// asking for room.
    #[test]
    fn a_table_grows_with_what_is_used_and_loses_nothing_by_it() {
        static BUDGET: Budget = Budget::of(WAYS * MOST_SETS);
        let (maker, mut table) = (Maker::new(), Table::new(&BUDGET));
        let now = maker.now;
        table.knock(maker.print(0));
        assert!(table.has_knocked(maker.print(0)) && !table.has_knocked(maker.print(1)));
        let mut displaced = 0;
        for number in 0..20_000 {
            displaced += usize::from(table.put(maker.entry(number), now).is_some());
            assert!(table.find(maker.print(number), maker.cache).is_some(), "the newest is there");
        }
        let held = (0..20_000).filter(|n| table.find(maker.print(*n), maker.cache).is_some());
        assert_eq!(held.count() + displaced, 20_000);
        assert_eq!(table.entries.len(), WAYS * MOST_SETS);
        let mut next = Table::new(&BUDGET);
        next.knock(maker.print(0));
        assert!(!next.has_knocked(maker.print(0)), "nothing is left for another one");
        assert!(next.put(maker.entry(0), now).is_some());
        drop(table);
        next.knock(maker.print(0));
        assert!(next.has_knocked(maker.print(0)));
    }

    /// Seen to fail with a search that spares nobody.
    #[test]
    fn who_was_used_is_spared() {
        static BUDGET: Budget = Budget::of(WAYS * FIRST_SETS);
        let (maker, mut table) = (Maker::new(), Table::new(&BUDGET));
        let now = maker.now;
        table.knock(maker.print(0));
        table.put(maker.entry(0), now);
        for number in 1..500 {
            table.find(maker.print(0), maker.cache).unwrap().use_it();
            table.put(maker.entry(number), now);
        }
        assert!(table.remove(maker.print(0), maker.cache).is_some());
        assert!(table.find(maker.print(0), maker.cache).is_none());
    }
}
