//! A record that is shared, and by what its holders are counted.

use std::{ops::Deref, sync::Arc};

use super::Record;

/// A record that many hold. Cheap to clone.
///
/// Its holders are counted beside the record and not where it stands: a count that two threads change at
/// every request travels between their cores each time, which takes longer than all else about a hit. So
/// a thread that meets a key often keeps one of these for itself, and clones that.
#[derive(Clone)]
pub(crate) struct SharedRecord(Arc<Counted>);

/// What the count belongs to.
struct Counted(Arc<Record>);

impl SharedRecord {
    /// The record, with a count of its own.
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self(Arc::new(Counted(record)))
    }
}

impl Deref for SharedRecord {
    type Target = Record;

    #[inline]
    fn deref(&self) -> &Record {
        &self.0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a request's extensions move it about: two words would be written apart and read at once, for
    /// which a processor waits longer than for the allocation.
    #[test]
    fn it_is_one_word() {
        assert_eq!(size_of::<SharedRecord>(), size_of::<usize>());
    }
}
