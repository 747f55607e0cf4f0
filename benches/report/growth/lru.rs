//! The least recently used, to compare with: a list through two arrays, by number.

const NONE: usize = usize::MAX;

/// A cache of `capacity` numbers that knows what was used last; of numbers below a bound.
pub(super) struct Lru {
    capacity: usize,
    len: usize,
    /// Of each number that is cached, the one that was used just after it and just before.
    newer: Vec<usize>,
    older: Vec<usize>,
    is_cached: Vec<bool>,
    newest: usize,
    oldest: usize,
}

impl Lru {
    pub(super) fn new(capacity: usize, bound: usize) -> Self {
        Self {
            capacity,
            len: 0,
            newer: vec![NONE; bound],
            older: vec![NONE; bound],
            is_cached: vec![false; bound],
            newest: NONE,
            oldest: NONE,
        }
    }

    /// Uses a number; whether it was cached.
    pub(super) fn uses(&mut self, number: usize) -> bool {
        let is_hit = self.is_cached[number];
        if is_hit {
            self.unlink(number);
        } else if self.len == self.capacity {
            let victim = self.oldest;
            self.unlink(victim);
            self.is_cached[victim] = false;
        } else {
            self.len += 1;
        }
        self.is_cached[number] = true;
        (self.newer[number], self.older[number]) = (NONE, self.newest);
        match self.newest {
            NONE => self.oldest = number,
            before => self.newer[before] = number,
        }
        self.newest = number;
        is_hit
    }

    fn unlink(&mut self, number: usize) {
        let (newer, older) = (self.newer[number], self.older[number]);
        match newer {
            NONE => self.newest = older,
            newer => self.older[newer] = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.newer[older] = newer,
        }
    }
}
