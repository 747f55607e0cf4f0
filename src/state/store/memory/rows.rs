//! The rows, and the ways that lead to each of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::super::{
    contract::{Cursor, Family, KeyWrite},
    error::StoreError,
};
use crate::value::{
    digest::TokenDigest,
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

/// One lock over all rows makes every method one transaction.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) keys: HashMap<KeyId, ApiKey>,
    /// Invariant: holds exactly the digests of `keys`.
    pub(super) by_digest: HashMap<TokenDigest, KeyId>,
    /// Invariant: holds exactly the places of `keys`, in the order of a listing.
    pub(super) in_order: BTreeMap<Cursor, ()>,
    /// Invariant: holds, by predecessor, exactly those of `keys` that name one.
    successors: HashMap<KeyId, KeyId>,
    /// Invariant: holds the owner of every key.
    pub(super) owners: HashMap<OwnerId, Arc<Owner>>,
}

impl Rows {
    pub(super) fn record(&self, key: &ApiKey) -> Record {
        Record::new(key.clone(), Arc::clone(&self.owners[key.owner_id()]))
    }

    pub(super) fn find(&self, digest: &TokenDigest) -> Option<Record> {
        self.by_digest.get(digest).map(|id| self.record(&self.keys[id]))
    }

    /// Whether the key's id, digest or predecessor belongs to another one.
    pub(super) fn is_taken(&self, key: &ApiKey) -> bool {
        self.keys.contains_key(&key.id())
            || self.by_digest.contains_key(key.digest())
            || key.predecessor().is_some_and(|id| self.successors.contains_key(&id))
    }

    /// Sets, replaces or removes the key of this id with all that leads to it; answers with what
    /// stood there.
    pub(super) fn put(&mut self, id: KeyId, key: Option<ApiKey>) -> Option<ApiKey> {
        let before = self.keys.remove(&id);
        if let Some(before) = &before {
            self.by_digest.remove(before.digest());
            self.in_order.remove(&Cursor::behind(before));
            if let Some(predecessor) = before.predecessor() {
                self.successors.remove(&predecessor);
            }
        }
        if let Some(key) = key {
            self.by_digest.insert(*key.digest(), id);
            self.in_order.insert(Cursor::behind(&key), ());
            if let Some(predecessor) = key.predecessor() {
                self.successors.insert(predecessor, id);
            }
            self.keys.insert(id, key);
        }
        before
    }

    pub(super) fn family(&self, id: KeyId, caller: Option<&OwnerId>) -> Option<Family> {
        let key = self.keys.get(&id)?;
        let relative = |id: &KeyId| self.keys.get(id).cloned();
        let family = Family::of(self.record(key))
            .with_predecessor(key.predecessor().as_ref().and_then(relative))
            .with_successor(self.successors.get(&id).and_then(relative));
        Some(family.with_caller(self.caller(caller).cloned()))
    }

    pub(super) fn caller(&self, caller: Option<&OwnerId>) -> Option<&Owner> {
        self.owners.get(caller?).map(Arc::as_ref)
    }
}

/// Writes that are undone when it is dropped, by an error or by a plan that panics.
pub(super) struct Draft<'a> {
    rows: &'a mut Rows,
    /// What stood under each id before, in the order of the writes.
    undo: Vec<(KeyId, Option<ApiKey>)>,
}

impl<'a> Draft<'a> {
    pub(super) fn of(rows: &'a mut Rows) -> Self {
        Self { rows, undo: Vec::new() }
    }

    pub(super) fn rows(&self) -> &Rows {
        self.rows
    }

    /// Makes one write; answers with the row as it is to be told.
    pub(super) fn write(&mut self, write: KeyWrite) -> Result<Record, StoreError> {
        let (id, after) = match write {
            KeyWrite::Insert(key) => {
                if self.rows.is_taken(&key) {
                    return Err(StoreError::duplicate());
                }
                (key.id(), Some(key))
            }
            KeyWrite::Update(edited) => {
                let stored = self.rows.keys.get(&edited.id()).ok_or_else(StoreError::not_found)?;
                (stored.id(), Some(edited.keeping_identity_of(stored)))
            }
            KeyWrite::Delete(id) => (id, None),
        };
        let before = self.rows.put(id, after);
        let told = self.rows.keys.get(&id).or(before.as_ref());
        let told = told.map(|key| self.rows.record(key)).ok_or_else(StoreError::not_found)?;
        self.undo.push((id, before));
        Ok(told)
    }

    pub(super) fn keep(mut self) {
        self.undo.clear();
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        for (id, before) in self.undo.drain(..).rev() {
            self.rows.put(id, before);
        }
    }
}
