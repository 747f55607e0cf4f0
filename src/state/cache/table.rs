//! A bounded table of slots by digest; the cache has one of present and one of absent keys.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{map::ConcurrentMap, sieve::Sieve, slot::Slot};
use crate::value::digest::TokenDigest;

/// The first 8 bytes of a digest. Enough to find its slot by: two of a million keys share one with a
/// probability of 3 in 10⁸. The slot's whole digest is compared, and another one under the same key
/// is a miss, which costs a read and nothing else.
type Key = u64;

pub(crate) struct Table {
    map: ConcurrentMap<Key, Arc<Slot>>,
    sieve: Sieve<Key>,
    /// Never less than the map's length: raised before an entry goes in, lowered after one is out.
    /// (`DashMap::len` counts shard by shard, and may count an entry and its victim.)
    entries: AtomicUsize,
}

impl Table {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            map: ConcurrentMap::new(),
            sieve: Sieve::new(capacity),
            entries: AtomicUsize::new(0),
        }
    }

    /// What `use_it` makes of the digest's slot; if it makes anything, that counts as a use.
    /// `use_it` runs under the map's guard: it must be quick and must not call the table.
    pub(crate) fn read<R>(
        &self,
        digest: &TokenDigest,
        use_it: impl FnOnce(&Arc<Slot>) -> Option<R>,
    ) -> Option<R> {
        let read = self.map.read(&key(digest), |slot| {
            if slot.digest() != digest {
                return None;
            }
            let used = use_it(slot)?;
            self.sieve.touch(slot.cell());
            Some(used)
        });
        read.flatten()
    }

    /// The digest's slot, whatever its state, without counting as a use.
    pub(crate) fn peek(&self, digest: &TokenDigest) -> Option<Arc<Slot>> {
        let slot = self.map.read(&key(digest), Arc::clone)?;
        (slot.digest() == digest).then_some(slot)
    }

    /// Whether there is a slot of the digest, whatever its state.
    pub(crate) fn knows(&self, digest: &TokenDigest) -> bool {
        self.map.read(&key(digest), |slot| slot.digest() == digest).unwrap_or(false)
    }

    /// Whether this very slot stands there.
    pub(crate) fn holds(&self, slot: &Arc<Slot>) -> bool {
        let stands = |standing: &Arc<Slot>| Arc::ptr_eq(standing, slot);
        self.map.read(&key(slot.digest()), stands).unwrap_or(false)
    }

    /// Puts a slot in its place, unless a newer read's stands there. If all cells are in hands, it is not
    /// cached.
    pub(crate) fn put(&self, slot: Arc<Slot>) -> Put {
        let key = key(slot.digest());
        // Most puts are refreshes: those need no cell, and must not evict anybody for one.
        if let Some(put) = self.map.edit(&key, |standing| settle(standing, &slot)) {
            return put;
        }
        let Some((cell, victim)) = self.sieve.take() else { return Put::of(slot) };
        // Another cell under the victim's key is a later entry's, which stays.
        let evict = |victim| self.map.remove_if(&victim, |slot| slot.cell() == cell);
        let evicted = victim.and_then(evict);
        if evicted.is_some() {
            self.entries.fetch_sub(1, Ordering::Relaxed);
        }
        let occupied = |standing: &mut Arc<Slot>| (settle(standing, &slot), false);
        let vacant = || {
            self.entries.fetch_add(1, Ordering::Relaxed);
            slot.settle_in(cell);
            (Arc::clone(&slot), (Put::of(Arc::clone(&slot)), true))
        };
        let (put, used) = self.map.upsert(key, occupied, vacant);
        if used {
            self.sieve.fill(cell, key);
        } else {
            self.sieve.free(cell);
        }
        Put { evicted: evicted.or(put.evicted), ..put }
    }

    /// Puts `new` in the place of `old`, if that still stands there.
    pub(crate) fn exchange(&self, old: &Arc<Slot>, new: Slot) {
        let new = Arc::new(new);
        self.map.edit(&key(old.digest()), |standing| {
            if Arc::ptr_eq(standing, old) {
                new.replace(old);
                *standing = new;
            }
        });
    }

    /// How many slots there are, whatever their state.
    pub(crate) fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }
}

/// What came of putting a slot in its place.
pub(crate) struct Put {
    /// The one that stands there now, or the slot itself if it is not cached.
    pub(crate) standing: Arc<Slot>,
    /// The one of the same digest that it took the place of.
    pub(crate) replaced: Option<Arc<Slot>>,
    /// The one of another digest that had to go for it.
    pub(crate) evicted: Option<Arc<Slot>>,
}

impl Put {
    fn of(standing: Arc<Slot>) -> Self {
        Self { standing, replaced: None, evicted: None }
    }
}

/// Puts `slot` in the place of the one that stands there, unless that is newer.
fn settle(standing: &mut Arc<Slot>, slot: &Arc<Slot>) -> Put {
    let is_same = standing.digest() == slot.digest();
    if is_same && standing.is_newer_than(slot) {
        return Put::of(Arc::clone(standing));
    }
    slot.replace(standing);
    let old = Some(std::mem::replace(standing, Arc::clone(slot)));
    let (replaced, evicted) = if is_same { (old, None) } else { (None, old) };
    Put { standing: Arc::clone(slot), replaced, evicted }
}

fn key(digest: &TokenDigest) -> Key {
    let first = digest.as_bytes().first_chunk().expect("a digest has at least 32 bytes");
    u64::from_ne_bytes(*first)
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicBool, thread};

    use super::*;
    use crate::{
        state::cache::fence::Fence,
        value::{
            clock::Monotonic,
            digest::DigestAlgorithm,
            key::{ApiKey, KeyId, Record},
            owner::Owner,
        },
    };

    fn digest(number: u32) -> TokenDigest {
        TokenDigest::of(DigestAlgorithm::Sha256, &number.to_string())
    }

    fn absent(fence: &Fence, digest: TokenDigest, nanos: u64) -> Arc<Slot> {
        let at = Monotonic::from_nanos(nanos);
        Arc::new(Slot::new(fence, digest, None, fence.snap(), at))
    }

    /// Seen to fail with "over the bound" when the victim left the map only after the new entry was
    /// in, and when a cell was linked before the map held its entry.
    #[test]
    fn four_writers_never_exceed_the_bound_and_leave_no_orphan() {
        for capacity in [1, 3] {
            let (fence, table) = (Fence::for_capacity(1), Table::new(capacity));
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                let watcher = scope.spawn(|| {
                    let mut looks = 0;
                    while !done.load(Ordering::Relaxed) {
                        assert!(table.len() <= capacity, "over the bound");
                        looks += 1;
                    }
                    looks
                });
                let writers: Vec<_> = (0..4_u32)
                    .map(|writer| {
                        let (fence, table) = (&fence, &table);
                        scope.spawn(move || {
                            for round in 0..20_000 {
                                // Some digests are shared between writers, some are not.
                                let number = if round % 2 == 0 { round % 5 } else { writer * 100 };
                                table.put(absent(fence, digest(number), u64::from(round)));
                            }
                        })
                    })
                    .collect();
                for writer in writers {
                    writer.join().unwrap();
                }
                done.store(true, Ordering::Relaxed);
                assert!(watcher.join().unwrap() > 0);
            });
            // With no orphans, cells and entries match: everything inserted now is found, and
            // everything older is gone.
            for number in 1_000..1_000 + u32::try_from(capacity).unwrap() {
                table.put(absent(&fence, digest(number), 0));
            }
            for number in 1_000..1_000 + u32::try_from(capacity).unwrap() {
                assert!(table.knows(&digest(number)), "an orphan holds the place of {number}");
            }
            assert_eq!(table.len(), capacity);
        }
    }

    #[test]
    fn an_older_read_never_replaces_a_newer_one() {
        let (fence, table) = (Fence::for_capacity(1), Table::new(2));
        let newer = table.put(absent(&fence, digest(1), 2)).standing;
        let Put { standing, replaced, evicted } = table.put(absent(&fence, digest(1), 1));
        assert!(replaced.is_none() && evicted.is_none());
        assert!(Arc::ptr_eq(&standing, &newer));
        assert_eq!(table.peek(&digest(1)).unwrap().loaded_at(), Monotonic::from_nanos(2));
    }

    /// Else a refresh would begin the window anew, as far as the recorder does not know better; with
    /// a full queue it could not even be asked. Seen to fail with the moment left out of
    /// `Slot::replace`, and taken over from another key.
    #[test]
    fn a_slot_takes_over_the_recorder_s_moment_of_its_key() {
        let (fence, table) = (Fence::for_capacity(1), Table::new(2));
        let put = |id: KeyId, nanos: u64| {
            let key = ApiKey::new(id, digest(1), "ada".into(), chrono::DateTime::UNIX_EPOCH);
            let found = Some(Record::new(key, Owner::new("ada")));
            let at = Monotonic::from_nanos(nanos);
            table.put(Arc::new(Slot::new(&fence, digest(1), found, fence.snap(), at))).standing
        };
        let id = KeyId::random();
        put(id, 1).due().store(300, Ordering::Relaxed);
        assert_eq!(put(id, 2).due().load(Ordering::Relaxed), 300);
        assert_eq!(put(KeyId::random(), 3).due().load(Ordering::Relaxed), 0, "another key");
    }
}
