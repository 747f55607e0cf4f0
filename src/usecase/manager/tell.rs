//! Tells what a change did to keys, once it is certain.

use std::collections::BTreeSet;

use crate::{
    state::store::{Family, KeyWrite},
    usecase::events::Event,
    value::{
        key::{ApiKey, KeyId},
        owner::OwnerId,
    },
};

/// What a change does to one key.
#[derive(Clone, Copy)]
enum Deed {
    Rotate { successor: KeyId },
    Activate,
    Deactivate,
    Update,
    Delete,
}

/// What a change is about to do to the keys of one owner.
pub(super) struct Deeds {
    owner: OwnerId,
    deeds: Vec<(KeyId, Deed)>,
}

impl Deeds {
    /// What these writes do to the family's keys. A key that replaces another one is told as a
    /// rotation of that one, which covers what else becomes of it.
    pub(super) fn of(family: &Family, writes: &[KeyWrite]) -> Self {
        let own = family.key.key();
        let successor = writes.iter().find_map(|write| match write {
            KeyWrite::Insert(key) => Some(key.id()),
            KeyWrite::Update(_) | KeyWrite::Delete(_) => None,
        });
        let rotated = successor.map(|successor| (own.id(), Deed::Rotate { successor }));
        let is_told = |id: KeyId| rotated.is_some() && id == own.id();
        let others = writes.iter().filter_map(|write| match write {
            KeyWrite::Insert(_) => None,
            KeyWrite::Update(after) => {
                let before = [Some(own), family.predecessor.as_ref()];
                let before = before.into_iter().flatten().find(|key| key.id() == after.id());
                Some((after.id(), deed(before, after)))
            }
            KeyWrite::Delete(id) => Some((*id, Deed::Delete)),
        });
        let deeds = rotated.into_iter().chain(others.filter(|(id, _)| !is_told(*id))).collect();
        Self { owner: own.owner_id().clone(), deeds }
    }

    /// The events of those keys that were written.
    pub(super) fn events<'a>(
        &'a self,
        written: &'a BTreeSet<KeyId>,
    ) -> impl Iterator<Item = Event<'a>> {
        let owner = &self.owner;
        self.deeds.iter().filter(|(key, _)| written.contains(key)).map(move |(key, deed)| {
            let key = *key;
            match *deed {
                Deed::Rotate { successor } => Event::Rotated { key, successor, owner },
                Deed::Activate => Event::Activated { key, owner },
                Deed::Deactivate => Event::Deactivated { key, owner },
                Deed::Update => Event::Updated { key, owner },
                Deed::Delete => Event::Deleted { key, owner },
            }
        })
    }
}

fn deed(before: Option<&ApiKey>, after: &ApiKey) -> Deed {
    match (before.is_some_and(ApiKey::is_active), after.is_active()) {
        (false, true) => Deed::Activate,
        (true, false) => Deed::Deactivate,
        _ => Deed::Update,
    }
}
