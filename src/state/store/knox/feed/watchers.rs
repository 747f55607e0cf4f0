//! The feeds that want to know what a store finds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::seen::Seen;
use crate::value::{digest::TokenDigest, key::Record};

/// Shared by a store and its clones; a feed that is gone is forgotten.
#[derive(Default)]
pub(in super::super) struct Watchers(Mutex<Vec<Weak<Seen>>>);

impl Watchers {
    pub(super) fn add(&self, seen: &Arc<Seen>) {
        let mut watchers = self.lock();
        watchers.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&Arc::downgrade(seen)));
        watchers.push(Arc::downgrade(seen));
    }

    /// Tells them what a read found of the digests that it asked for.
    pub(in super::super) fn note(&self, asked: &[TokenDigest], found: &[Record]) {
        let watchers = self.lock().clone();
        for seen in watchers.iter().filter_map(Weak::upgrade) {
            seen.note(asked, found);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Seen>>> {
        // Nothing under this lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
