//! The renewals that wait to be written, one per key: bounded.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::value::{
    clock::Monotonic,
    digest::TokenDigest,
    key::{KeyId, Slide},
};

/// The most keys that wait at a time: some 2 MiB.
pub(super) const CAPACITY: usize = 8_192;
/// For how long a renewal counts that is not written: long enough for a database to fail over. It is
/// also by how much a key may outlive its stored expiry.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A later expiry of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renewal {
    pub(super) key: KeyId,
    pub(super) digest: TokenDigest,
    /// The expiry that was read.
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
    /// When it began to wait.
    pub(super) since: Monotonic,
}

impl Renewal {
    /// Whether it has waited for so long that nothing is judged by it any more.
    pub(super) fn is_overdue(&self, now: Monotonic) -> bool {
        now.since(self.since) >= PATIENCE
    }
}

/// What became of a renewal that was to be noted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// The key expires then.
    Until(DateTime<Utc>),
    /// This expiry was not to be moved on.
    Stays,
    /// There is no room.
    Full,
}

#[derive(Default)]
pub(super) struct Book {
    cells: Mutex<Cells>,
    /// How many renewals wait. Written under the lock, with Release: who reads it finds by the lock
    /// what was noted before; who reads none has none to find.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Cells {
    waiting: HashMap<KeyId, Renewal>,
    /// Expiries of keys that others have replaced: not to be moved on, which no read tells. Bounded as
    /// what waits is.
    refused: HashMap<KeyId, DateTime<Utc>>,
}

impl Book {
    /// Notes a renewal. A key that waits already goes on waiting, for the later expiry if that gains
    /// enough.
    pub(super) fn note(&self, renewal: Renewal, slide: &Slide) -> Noted {
        let now = renewal.since;
        let mut cells = self.cells();
        if let Some(known) = cells.waiting.get_mut(&renewal.key) {
            let is_as_read = known.from == renewal.from;
            let is_as_renewed = known.to == renewal.from;
            if known.is_overdue(now) && is_as_renewed && !is_as_read {
                // What is not written is not built upon for ever.
                return Noted::Stays;
            }
            if known.is_overdue(now) || !(is_as_read || is_as_renewed) {
                // The row was read anew: it is from there that it is to move on.
                *known = renewal;
            } else if slide.is_gain(known.to, renewal.to) {
                known.to = renewal.to;
            }
            return Noted::Until(known.to);
        }
        if cells.refused.get(&renewal.key) == Some(&renewal.from) {
            return Noted::Stays;
        }
        if cells.waiting.len() >= CAPACITY {
            return Noted::Full;
        }
        cells.waiting.insert(renewal.key, renewal);
        self.recount(&cells);
        Noted::Until(renewal.to)
    }

    /// The later expiry that waits to be written for a key that was read to expire at `from`.
    pub(super) fn waits_for(
        &self,
        key: KeyId,
        from: DateTime<Utc>,
        now: Monotonic,
    ) -> Option<DateTime<Utc>> {
        if self.is_empty() {
            return None;
        }
        let cells = self.cells();
        let known = cells.waiting.get(&key)?;
        (known.from == from && !known.is_overdue(now)).then_some(known.to)
    }

    /// All that waits, in one order for all processes that write the same rows. It goes on waiting
    /// until it is told what became of it.
    pub(super) fn waiting(&self) -> Vec<Renewal> {
        let mut waiting: Vec<_> = self.cells().waiting.values().copied().collect();
        waiting.sort_unstable_by_key(|renewal| renewal.key);
        waiting
    }

    /// It is stored. What was noted for its key meanwhile waits on, to move on from there.
    pub(super) fn stored(&self, renewal: &Renewal, now: Monotonic) {
        let mut cells = self.cells();
        let Some(known) = cells.waiting.get_mut(&renewal.key) else { return };
        if known.from != renewal.from {
            return;
        }
        if known.to == renewal.to {
            cells.waiting.remove(&renewal.key);
        } else {
            (known.from, known.since) = (renewal.to, now);
        }
        self.recount(&cells);
    }

    /// This expiry is to stay.
    pub(super) fn refused(&self, renewal: &Renewal) {
        if self.given_up(renewal) {
            let refused = &mut self.cells().refused;
            if refused.len() >= CAPACITY {
                refused.clear();
            }
            refused.insert(renewal.key, renewal.from);
        }
    }

    /// It does not wait any more; whether it did.
    pub(super) fn given_up(&self, renewal: &Renewal) -> bool {
        let mut cells = self.cells();
        let is_it = |known: &Renewal| known.from == renewal.from;
        let waited = cells.waiting.get(&renewal.key).is_some_and(is_it);
        if waited {
            cells.waiting.remove(&renewal.key);
            self.recount(&cells);
        }
        waited
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn recount(&self, cells: &Cells) {
        self.waiting.store(cells.waiting.len(), Ordering::Release);
    }

    fn cells(&self) -> MutexGuard<'_, Cells> {
        // Nothing under this lock can panic halfway through a change.
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::value::digest::DigestAlgorithm;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn slide() -> Slide {
        Slide::new(TimeDelta::seconds(600), None, TimeDelta::seconds(60))
    }

    /// A renewal from one second to another, noted at a third.
    fn renewal(key: KeyId, from: i64, to: i64, since: u64) -> Renewal {
        let digest = TokenDigest::of(DigestAlgorithm::Sha256, "token");
        let since = Monotonic::from_nanos(since * 1_000_000_000);
        Renewal { key, digest, from: at(from), to: at(to), since }
    }

    /// Seen to fail with a line that moves on by any gain, with one that begins its minute anew, and with
    /// one that is taken away by a write that was behind it.
    #[test]
    fn a_key_waits_once_for_the_latest_expiry_that_gains_enough() {
        let (book, key, slide) = (Book::default(), KeyId::random(), slide());
        let first = renewal(key, 10, 600, 0);
        assert_eq!(book.note(first, &slide), Noted::Until(at(600)));
        let by_the_old_read = book.note(renewal(key, 10, 660, 30), &slide);
        assert_eq!(by_the_old_read, Noted::Until(at(600)), "it gains 60 s");
        let by_what_was_noted = book.note(renewal(key, 600, 661, 31), &slide);
        assert_eq!(by_what_was_noted, Noted::Until(at(661)));
        assert_eq!(book.waiting(), [renewal(key, 10, 661, 0)]);
        let now = Monotonic::from_nanos(40_000_000_000);
        assert_eq!(book.waits_for(key, at(10), now), Some(at(661)));
        assert_eq!(book.waits_for(key, at(600), now), None, "that was not read");
        book.stored(&first, now);
        assert_eq!(book.waiting(), [renewal(key, 600, 661, 40)], "it moves on from there");
        book.stored(&renewal(key, 600, 661, 0), now);
        assert_eq!((book.len(), book.waits_for(key, at(600), now)), (0, None));
    }

    /// Seen to fail with a line that is kept for the row as it was.
    #[test]
    fn a_row_that_was_read_anew_is_what_counts() {
        let (book, key, slide) = (Book::default(), KeyId::random(), slide());
        let old = renewal(key, 10, 600, 0);
        book.note(old, &slide);
        let new = renewal(key, 20, 610, 5);
        assert_eq!(book.note(new, &slide), Noted::Until(at(610)));
        book.stored(&old, new.since);
        assert!(!book.given_up(&old), "that one waits no more");
        book.refused(&old);
        assert_eq!(book.waiting(), [new]);
    }

    /// Nothing is judged by what has waited for a minute. Seen to fail without `is_overdue` in `waits_for`,
    /// and without it in `note`: then a key that is never written lives for as long as it is used.
    #[test]
    fn what_waits_in_vain_counts_for_a_minute() {
        let (book, key, slide) = (Book::default(), KeyId::random(), slide());
        book.note(renewal(key, 30, 600, 0), &slide);
        let late = Monotonic::from_nanos(60_000_000_000);
        assert_eq!(book.waits_for(key, at(30), late), None);
        assert_eq!(book.note(renewal(key, 600, 1_000, 60), &slide), Noted::Stays);
        let anew = renewal(key, 30, 661, 61);
        assert_eq!(
            book.note(anew, &slide),
            Noted::Until(at(661)),
            "read anew, and not expired yet"
        );
        assert_eq!(book.waiting(), [anew]);
    }

    #[test]
    fn what_waits_and_what_was_refused_are_bounded() {
        let (book, slide) = (Book::default(), slide());
        let keys: Vec<_> = (0..CAPACITY).map(|_| KeyId::random()).collect();
        for key in &keys {
            assert_eq!(book.note(renewal(*key, 10, 600, 0), &slide), Noted::Until(at(600)));
        }
        let another = renewal(KeyId::random(), 10, 600, 0);
        assert_eq!(book.note(another, &slide), Noted::Full);
        for key in &keys {
            book.refused(&renewal(*key, 10, 600, 0));
            assert_eq!(book.note(renewal(*key, 10, 600, 0), &slide), Noted::Stays);
        }
        book.note(another, &slide);
        book.refused(&another);
        assert_eq!((book.len(), book.cells().refused.len()), (0, 1));
    }
}
