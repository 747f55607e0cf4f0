//! What became of the rows: counted, and printed at the end.

use std::collections::BTreeMap;

use tower_token_auth::{Record, store::TokenTableKind};

use super::print::name;

/// What became of one row.
pub(crate) enum Fate {
    /// `as_other`: its owner was there already, with other flags or accounts.
    Moved {
        as_other: bool,
    },
    /// `ended`: it is no good at Django any more, and good here.
    There {
        ended: bool,
    },
    Left(String),
}

pub(crate) struct Report {
    pub(crate) total: u64,
    pub(crate) kind: TokenTableKind,
    pub(crate) is_dry: bool,
    pub(crate) moved: u64,
    pub(crate) notes: BTreeMap<&'static str, u64>,
    pub(crate) there: u64,
    pub(crate) ended: (u64, Vec<String>),
    pub(crate) left: BTreeMap<String, (u64, Vec<String>)>,
}

impl Report {
    pub(crate) fn new(kind: TokenTableKind, total: u64, is_dry: bool) -> Self {
        let (notes, left) = (BTreeMap::new(), BTreeMap::new());
        Self { total, kind, is_dry, moved: 0, notes, there: 0, ended: Default::default(), left }
    }

    /// Counts a row; `record` is what was read of it.
    pub(crate) fn count(&mut self, record: Option<&Record>, fate: Fate) {
        match (fate, record) {
            (Fate::There { ended }, record) => {
                self.there += 1;
                if ended {
                    name(&mut self.ended, record);
                }
            }
            (Fate::Left(reason), record) => name(self.left.entry(reason).or_default(), record),
            (Fate::Moved { as_other }, record) => {
                self.moved += 1;
                let notes = record.into_iter().flat_map(|record| notes(record, as_other));
                notes.for_each(|note| *self.notes.entry(note).or_default() += 1);
            }
        }
    }

    pub(crate) fn seen(&self) -> u64 {
        self.moved + self.there + self.left.values().map(|(count, _)| count).sum::<u64>()
    }
}

/// What is to be known of a key that was moved.
fn notes(record: &Record, as_other: bool) -> impl Iterator<Item = &'static str> {
    let (key, owner) = (record.key(), record.owner());
    let notes = [
        (!owner.is_active(), "refused until they and their owner are activated"),
        (!key.is_active(), "refused until they are activated"),
        (key.owner_id() != owner.id(), "now their user's own, and not of the profile's user"),
        (as_other, "of an owner whose flags or accounts are others in the new database"),
    ];
    notes.into_iter().filter_map(|(is, note)| is.then_some(note))
}
