//! Subjects of which a change may or may not have been made: nothing is answered about them until it
//! is known.
//!
//! Why it holds: what was lost is marked here first and stamped second; who authenticates looks here
//! first and at the stamps second. So whoever finds no mark on a subject either began before it was
//! made, or finds, after it was cleared, the stamp that was set before it was cleared: then whatever
//! was read in between is outdated. A look in the other order could pass the old stamps, miss the
//! whole suspicion, and use what was read during it.

use std::collections::HashMap;

use super::sync::{AtomicU64, Mutex, acquire, lock, release};
use crate::value::{digest::TokenDigest, key::Record, subject::Subject};

#[derive(Default)]
pub(super) struct Suspects {
    /// How many subjects are marked: as long as it is 0, which is nearly always, one load tells.
    /// Stored under the lock.
    count: AtomicU64,
    /// How many unsettled changes each marked subject is part of. Bounded by the places that their
    /// changes took before they were begun.
    marks: Mutex<HashMap<Subject, usize>>,
}

impl Suspects {
    /// Marks subjects. The stamp follows.
    pub(super) fn mark(&self, subjects: &[Subject]) {
        let mut marks = lock(&self.marks);
        for subject in subjects {
            *marks.entry(subject.clone()).or_default() += 1;
        }
        // Release: who reads the count sees the marks, by the lock that it takes then.
        release(&self.count, marks.len() as u64);
    }

    /// Takes as many marks away. The stamp came before.
    pub(super) fn clear(&self, subjects: &[Subject]) {
        let mut marks = lock(&self.marks);
        for subject in subjects {
            if let Some(times) = marks.get_mut(subject) {
                *times -= 1;
                if *times == 0 {
                    marks.remove(subject);
                }
            }
        }
        // Release: who reads this count sees the stamps that were set before.
        release(&self.count, marks.len() as u64);
    }

    /// Whether nothing may be said about this digest, whatever was read of it. To be asked after the
    /// authentication began, and before the stamps are.
    pub(super) fn hold(&self, digest: &TokenDigest, record: Option<&Record>) -> bool {
        acquire(&self.count) > 0 && self.look(digest, record)
    }

    /// How many subjects are marked.
    pub(super) fn count(&self) -> usize {
        usize::try_from(acquire(&self.count)).unwrap_or(usize::MAX)
    }

    #[cold]
    fn look(&self, digest: &TokenDigest, record: Option<&Record>) -> bool {
        let marks = lock(&self.marks);
        let is_marked = |subject: Subject| marks.contains_key(&subject);
        is_marked(Subject::Digest(*digest))
            || record.is_some_and(|record| {
                is_marked(Subject::Key(record.id()))
                    || is_marked(Subject::Owner(record.owner().id().clone()))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::key::KeyId;

    #[test]
    fn a_subject_is_held_until_every_change_of_it_is_settled() {
        let suspects = Suspects::default();
        let digest = TokenDigest::of(Default::default(), "t");
        let subjects = [Subject::Digest(digest), Subject::Key(KeyId::random())];
        suspects.mark(&subjects);
        suspects.mark(&subjects[..1]);
        assert!(suspects.hold(&digest, None));
        suspects.clear(&subjects);
        assert!(suspects.hold(&digest, None), "the second change is not settled");
        suspects.clear(&subjects[..1]);
        assert!(!suspects.hold(&digest, None));
        assert_eq!(suspects.count(), 0);
    }
}
