//! What a change has decided inside its transaction, so that it can be made good if it is lost.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    state::store::{Family, KeyWrite},
    usecase::maintenance::{Change, Goal, Repair},
    value::{
        key::{ApiKey, KeyId},
        owner::{Owner, OwnerId},
        subject::Subject,
    },
};

/// What a change has decided so far. Empty, nothing can have been written: a store writes nothing
/// before the closure has answered that it calls inside its transaction.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// By the key that was decided on: a store may run its transaction again, and the last time
    /// counts.
    keys: Vec<(KeyId, Vec<Goal>)>,
    owner: Option<(OwnerId, Option<Owner>, Owner)>,
}

impl Entries {
    fn forget(&mut self, about: KeyId) {
        self.keys.retain(|(id, _)| *id != about);
    }
}

impl Ledger {
    /// A decision about this key begins; one that was taken before counts no more, as the store began
    /// its transaction anew.
    pub(super) fn begin(&self, about: KeyId) {
        self.entries().forget(about);
    }

    /// A decision about an owner begins.
    pub(super) fn begin_owner(&self) {
        self.entries().owner = None;
    }

    /// The key is about to be added.
    pub(super) fn adds(&self, goal: Goal) {
        self.decided(goal.id(), vec![goal]);
    }

    /// These are about to be written for the family. A key among them that is new is one that nobody
    /// will know the token of, and the family's own key is what it replaces.
    pub(super) fn writes(&self, family: &Family, writes: &[KeyWrite]) {
        let own = family.key.id();
        let is_rotation = writes.iter().any(|write| matches!(write, KeyWrite::Insert(_)));
        let before = |id: KeyId| -> Option<ApiKey> {
            let relatives = [Some(family.key.key()), family.predecessor.as_ref()];
            relatives.into_iter().flatten().find(|key| key.id() == id).cloned()
        };
        // Where the family's own key is deleted for its successor, one goal is about both.
        let is_exchange =
            writes.iter().any(|write| matches!(write, KeyWrite::Delete(id) if *id == own));
        let owner = || family.key.owner().clone();
        let goal = |write: &KeyWrite| match write {
            KeyWrite::Insert(key) if is_exchange => {
                let (successor, key) = (key.clone(), family.key.key().clone());
                Some(Goal::Return { key, owner: owner(), successor })
            }
            KeyWrite::Insert(key) => Some(Goal::Void { key: key.clone(), owner: owner() }),
            KeyWrite::Update(after) => {
                let (before, after) = (before(after.id())?, after.clone());
                Some(if is_rotation && after.id() == own {
                    Goal::Restore { before, after }
                } else {
                    Goal::Again(Change { before, after, owner: owner(), is_overtaken: false })
                })
            }
            KeyWrite::Delete(id) if is_rotation && *id == own => None,
            KeyWrite::Delete(id) => Some(Goal::Delete(before(*id)?)),
        };
        self.decided(own, writes.iter().filter_map(goal).collect());
    }

    /// The owner is about to be written.
    pub(super) fn owner(&self, before: Option<&Owner>, after: &Owner) {
        let owner = (after.id().clone(), before.cloned(), after.clone());
        self.entries().owner = Some(owner);
    }

    fn decided(&self, about: KeyId, goals: Vec<Goal>) {
        let mut entries = self.entries();
        entries.forget(about);
        entries.keys.push((about, goals));
    }

    pub(super) fn is_empty(&self) -> bool {
        let entries = self.entries();
        entries.owner.is_none() && entries.keys.iter().all(|(_, goals)| goals.is_empty())
    }

    /// Whatever was read about these is outdated by the change.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        let entries = self.entries();
        let owner = entries.owner.iter().map(|(id, ..)| Subject::Owner(id.clone()));
        let goals = entries.keys.iter().flat_map(|(_, goals)| goals);
        owner.chain(goals.flat_map(Goal::subjects)).collect()
    }

    /// How the change is made good.
    pub(super) fn repair(&self) -> Repair {
        let mut entries = self.entries();
        match entries.owner.take() {
            Some((id, before, after)) => Repair::Owner { id, before, after, is_overtaken: false },
            None => Repair::Keys(entries.keys.drain(..).flat_map(|(_, goals)| goals).collect()),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Nothing under this lock can panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
