//! Whose place is given away when the cache is full: SIEVE, as a list in a slab under one lock.
//!
//! A hit sets one bit, and only if it is unset, so that hot keys cost no shared write. Inserting
//! goes by a *cell*: taken from here, used for one map entry, and given back. A cell that is in
//! somebody's hand is in no list and can't be chosen again, so that the bound is exact although no
//! lock is held over the map's.

use std::sync::atomic::{AtomicBool, Ordering};

use super::sync::{Mutex, lock};

/// The most steps of one search. A search of a full turn would hold the lock for as long as the
/// cache is large; past this many visited cells the next one goes, visited or not.
const MAX_STEPS: usize = 128;
const NONE: u32 = u32::MAX;

/// A place in the cache. In hand, it belongs to whoever took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell(pub(super) u32);

pub(crate) struct Sieve<K> {
    /// Set by hits (Relaxed: it guards nothing), cleared by the search for a victim.
    visited: Box<[AtomicBool]>,
    list: Mutex<List<K>>,
}

/// A doubly linked list through a slab. Invariant: every cell is linked, free, or in one hand.
struct List<K> {
    nodes: Vec<Node<K>>,
    capacity: usize,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    /// Where the next search begins; `NONE` means at the oldest.
    hand: u32,
}

#[derive(Clone, Copy)]
struct Node<K> {
    newer: u32,
    older: u32,
    /// Whose cell it is, or was when it was linked last.
    key: K,
}

impl<K: Copy + Default> Sieve<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        let list = List {
            nodes: Vec::new(),
            capacity,
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            hand: NONE,
        };
        let visited = (0..capacity).map(|_| AtomicBool::new(false)).collect();
        Self { visited, list: Mutex::new(list) }
    }

    /// Marks a cell as used since the last search.
    pub(crate) fn touch(&self, cell: Cell) {
        let bit = &self.visited[cell.0 as usize];
        if !bit.load(Ordering::Relaxed) {
            bit.store(true, Ordering::Relaxed);
        }
    }

    /// A cell in hand, and the key whose entry has to leave the map before the cell is used.
    /// `None` if all cells are in hands: then the caller does not cache.
    pub(crate) fn take(&self) -> Option<(Cell, Option<K>)> {
        let mut list = lock(&self.list);
        if let Some(cell) = list.unused() {
            return Some((Cell(cell), None));
        }
        let mut at = if list.hand == NONE { list.oldest } else { list.hand };
        for _ in 0..MAX_STEPS {
            if at == NONE {
                return None;
            }
            if !self.visited[at as usize].swap(false, Ordering::Relaxed) {
                break;
            }
            at = list.next_in_search(at);
        }
        list.hand = list.nodes[at as usize].newer;
        let victim = list.unlink(at);
        self.visited[at as usize].store(false, Ordering::Relaxed);
        Some((Cell(at), Some(victim)))
    }

    /// Gives back a cell that now holds `key`'s entry.
    pub(crate) fn fill(&self, cell: Cell, key: K) {
        lock(&self.list).link(cell.0, key);
    }

    /// Gives back a cell that was not needed.
    pub(crate) fn free(&self, cell: Cell) {
        lock(&self.list).free.push(cell.0);
    }
}

impl<K: Copy + Default> List<K> {
    fn unused(&mut self) -> Option<u32> {
        if let Some(cell) = self.free.pop() {
            return Some(cell);
        }
        let next = self.nodes.len();
        (next < self.capacity).then(|| {
            self.nodes.push(Node { newer: NONE, older: NONE, key: K::default() });
            u32::try_from(next).expect("a capacity is below 2^32")
        })
    }

    /// Towards the newest, and from there to the oldest again.
    fn next_in_search(&self, at: u32) -> u32 {
        match self.nodes[at as usize].newer {
            NONE => self.oldest,
            newer => newer,
        }
    }

    fn link(&mut self, cell: u32, key: K) {
        let older = self.newest;
        self.nodes[cell as usize] = Node { newer: NONE, older, key };
        match older {
            NONE => self.oldest = cell,
            older => self.nodes[older as usize].newer = cell,
        }
        self.newest = cell;
    }

    fn unlink(&mut self, cell: u32) -> K {
        let Node { newer, older, key } = self.nodes[cell as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(sieve: &Sieve<u32>, key: u32) -> (Cell, Option<u32>) {
        let (cell, victim) = sieve.take().unwrap();
        sieve.fill(cell, key);
        (cell, victim)
    }

    #[test]
    fn evicts_the_oldest_that_was_not_used() {
        let sieve = Sieve::new(3);
        let cells: Vec<_> = (0..3).map(|key| put(&sieve, key).0).collect();
        sieve.touch(cells[0]);
        assert_eq!(put(&sieve, 3).1, Some(1), "0 was used, so 1 goes");
        assert_eq!(put(&sieve, 4).1, Some(2));
        assert_eq!(put(&sieve, 5).1, Some(3), "the hand goes on; new ones are not spared");
        assert_eq!(put(&sieve, 6).1, Some(4));
        assert_eq!(put(&sieve, 7).1, Some(5));
        assert_eq!(put(&sieve, 8).1, Some(6));
    }

    #[test]
    fn a_cell_in_hand_is_nobody_s_victim() {
        let sieve = Sieve::<u32>::new(1);
        let (cell, _) = sieve.take().unwrap();
        assert!(sieve.take().is_none(), "the only cell is in hand");
        sieve.free(cell);
        assert_eq!(put(&sieve, 1).1, None);
        assert_eq!(put(&sieve, 2).1, Some(1));
    }

    #[test]
    fn a_search_among_hot_keys_ends() {
        let sieve = Sieve::new(1000);
        for key in 0..1000 {
            let (cell, _) = put(&sieve, key);
            sieve.touch(cell);
        }
        assert_eq!(put(&sieve, 1000).1, Some(128), "128 were spared, then one had to go");
        assert_eq!(put(&sieve, 1001).1, Some(257));
    }
}
