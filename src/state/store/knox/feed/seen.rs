//! Which keys were found lately, and how they stood then: what a feed that polls looks at again.
//!
//! # Why no change is missed
//! A key that is found is noted, with a mark of all that a revocation can change. Whatever is found or
//! looked at later under another mark, or not at all, is told; and where two reads of one key come in in
//! another order than they were made, their marks differ in either order. A read that was made before a
//! look and is noted behind it has the next look taken, whatever the database says of commits.

use std::{
    collections::{HashMap, hash_map::Entry as Place},
    hash::{BuildHasher as _, RandomState},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    state::store::feed::Heard,
    value::{
        digest::TokenDigest,
        key::{KeyId, Record},
        owner::OwnerId,
        subject::Subject,
    },
};

/// The most keys that are watched; those beyond hold for the fresh TTL.
const MOST: usize = 65_536;
/// Told one by one up to here, and as everything beyond.
const MOST_TOLD: usize = 256;

/// How a key and its owner stood.
#[derive(Clone, PartialEq, Eq)]
struct Mark {
    id: KeyId,
    owner: OwnerId,
    of_key: u64,
    of_owner: u64,
}

pub(super) struct Seen {
    state: Mutex<State>,
    marks: RandomState,
    /// For how many looks a key is watched that is not found again.
    memory: u64,
}

#[derive(Default)]
struct State {
    keys: HashMap<TokenDigest, Watched>,
    /// What is to be told; everything, if it is more than can be told one by one.
    changed: Vec<Subject>,
    /// Whether a key was noted since the last look began.
    is_new: bool,
    look: u64,
}

struct Watched {
    mark: Mark,
    /// The look before which it was found last.
    found: u64,
}

impl Seen {
    pub(super) fn new(memory: u64) -> Self {
        Self { state: Mutex::default(), marks: RandomState::new(), memory }
    }

    /// Notes what a read found of the digests that it asked for.
    pub(super) fn note(&self, asked: &[TokenDigest], found: &[Record]) {
        let mut state = self.lock();
        state.is_new = true;
        self.compare_in(&mut state, asked, found);
        let look = state.look;
        for record in found {
            let digest = *record.key().digest();
            let mark = self.mark(record);
            let has_room = state.keys.len() < MOST;
            match state.keys.entry(digest) {
                Place::Occupied(mut watched) => watched.get_mut().found = look,
                Place::Vacant(place) if has_room => {
                    place.insert(Watched { mark, found: look });
                }
                Place::Vacant(_) => {}
            }
        }
    }

    /// Compares what a look found of the digests that it asked for.
    pub(super) fn compare(&self, asked: &[TokenDigest], found: &[Record]) {
        self.compare_in(&mut self.lock(), asked, found);
    }

    fn compare_in(&self, state: &mut State, asked: &[TokenDigest], found: &[Record]) {
        let found: HashMap<_, _> = found.iter().map(|r| (r.key().digest(), r)).collect();
        for digest in asked {
            let Some(watched) = state.keys.get_mut(digest) else { continue };
            let new = found.get(digest).map(|record| self.mark(record));
            if new.as_ref() == Some(&watched.mark) {
                continue;
            }
            let old = watched.mark.clone();
            let owner = new.as_ref().is_some_and(|new| new.of_owner != old.of_owner);
            match new {
                Some(new) => watched.mark = new,
                None => drop(state.keys.remove(digest)),
            }
            state.tell(Subject::Key(old.id));
            if owner {
                // Others may be theirs that are not watched.
                state.tell(Subject::Owner(old.owner));
            }
        }
    }

    /// What has changed since it was asked last.
    pub(super) fn changed(&self) -> Option<Heard> {
        let changed = mem::take(&mut self.lock().changed);
        match changed.len() {
            0 => None,
            len if len > MOST_TOLD => Some(Heard::Everything),
            _ => Some(Heard::Revoked(changed)),
        }
    }

    /// Begins a look, and answers with what it is to look at: all that is watched, if the database has
    /// changed or a key was noted since the last one.
    pub(super) fn begin(&self, has_changed: bool) -> Vec<TokenDigest> {
        let mut state = self.lock();
        state.look += 1;
        let is_due = mem::take(&mut state.is_new) || has_changed;
        let oldest = state.look.saturating_sub(self.memory);
        state.keys.retain(|_, watched| watched.found >= oldest);
        if is_due { state.keys.keys().copied().collect() } else { Vec::new() }
    }

    /// Forgets all: whatever was read before is outdated anyway.
    pub(super) fn forget(&self) {
        let State { keys, changed, .. } = &mut *self.lock();
        keys.clear();
        changed.clear();
    }

    /// Tells records apart that differ in what a revocation can change. It is keyed at random, so that
    /// nobody can write a row whose mark is that of another.
    fn mark(&self, record: &Record) -> Mark {
        Mark {
            id: record.id(),
            owner: record.owner().id().clone(),
            of_key: self.marks.hash_one(record.standing_of_key()),
            of_owner: self.marks.hash_one(record.standing_of_owner()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, subject: Subject) {
        if self.changed.len() <= MOST_TOLD && !self.changed.contains(&subject) {
            self.changed.push(subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::value::{digest::DigestAlgorithm, key::ApiKey, owner::Owner};

    fn digest(token: &str) -> TokenDigest {
        TokenDigest::of(DigestAlgorithm::Sha512, token)
    }

    fn record(token: &str) -> Record {
        let key = ApiKey::new(KeyId::random(), digest(token), "1".into(), DateTime::UNIX_EPOCH);
        Record::new(key, Owner::new("1"))
    }

    fn told(seen: &Seen) -> Vec<Subject> {
        match seen.changed() {
            None => Vec::new(),
            Some(Heard::Revoked(subjects)) => subjects,
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_differs_is_told_once_whoever_finds_it() {
        let seen = Seen::new(10);
        let (asked, old) = ([digest("t")], record("t"));
        let new = Record::new(old.key().clone().with_active(false), old.owner().clone());
        let id = [Subject::Key(old.id())];
        seen.note(&asked, std::slice::from_ref(&old));
        seen.compare(&asked, std::slice::from_ref(&old));
        assert_eq!(told(&seen), []);
        seen.compare(&asked, std::slice::from_ref(&new));
        assert_eq!(told(&seen), id);
        seen.compare(&asked, std::slice::from_ref(&new));
        assert_eq!(told(&seen), []);
        // Two reads whose answers overtake each other.
        seen.note(&asked, std::slice::from_ref(&old));
        assert_eq!(told(&seen), id);
        seen.note(&asked, &[new]);
        assert_eq!(told(&seen), id);
        // Gone, and back.
        seen.note(&asked, &[]);
        assert_eq!(told(&seen), id);
        seen.note(&asked, &[old]);
        assert_eq!(told(&seen), []);
    }

    /// Seen to fail without `is_new`.
    #[test]
    fn a_key_that_was_noted_behind_a_look_is_looked_at_again() {
        let seen = Seen::new(10);
        assert!(seen.begin(true).is_empty());
        seen.note(&[digest("t")], &[record("t")]);
        assert_eq!(seen.begin(false), [digest("t")]);
        assert!(seen.begin(false).is_empty(), "nothing was committed or noted");
        assert_eq!(seen.begin(true), [digest("t")]);
    }

    #[test]
    fn what_is_not_found_for_long_is_not_watched() {
        let seen = Seen::new(3);
        seen.note(&[digest("t")], &[record("t")]);
        for _ in 0..3 {
            assert_eq!(seen.begin(true).len(), 1);
        }
        assert!(seen.begin(true).is_empty());
    }

    /// Seen to fail without the bounds.
    #[test]
    fn it_is_bounded() {
        let seen = Seen::new(3);
        let records: Vec<_> = (0..MOST + 10).map(|n| record(&n.to_string())).collect();
        let asked: Vec<_> = records.iter().map(|record| *record.key().digest()).collect();
        seen.note(&asked, &records);
        assert_eq!(seen.begin(true).len(), MOST);
        seen.compare(&asked, &[]);
        assert_eq!(seen.changed(), Some(Heard::Everything));
        assert_eq!(seen.changed(), None);
    }

    /// Each thing that a revocation can change, by itself.
    #[test]
    fn a_mark_tells_all_that_counts() {
        let seen = Seen::new(3);
        let key = record("t").key().clone();
        let owner = Owner::new("1");
        let day: DateTime<Utc> = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let of = |key: &ApiKey, owner: &Owner| {
            let mark = seen.mark(&Record::new(key.clone(), owner.clone()));
            (mark.of_key, mark.of_owner)
        };
        let plain = of(&key, &owner);
        let owners = [
            owner.clone().with_active(false),
            owner.clone().with_staff(true),
            owner.clone().with_superuser(true),
            owner.clone().with_accounts(["a"]),
            Owner::new("2"),
        ];
        for owner in &owners {
            assert_ne!(of(&key, owner), plain, "{owner:?}");
        }
        let inactive = Record::new(key.clone(), owners[0].clone());
        seen.note(&[digest("t")], &[Record::new(key.clone(), owner.clone())]);
        seen.compare(&[digest("t")], &[inactive]);
        assert_eq!(told(&seen), [Subject::Key(key.id()), Subject::Owner("1".into())]);
        let keys = [
            key.clone().with_active(false),
            key.clone().with_expires_at(Some(day)),
            key.clone().with_account(Some("a".into())),
            key.clone().with_scopes(["a"]),
            ApiKey::new(KeyId::random(), digest("t"), "1".into(), DateTime::UNIX_EPOCH),
            ApiKey::new(key.id(), digest("t"), "2".into(), DateTime::UNIX_EPOCH),
        ];
        for key in &keys {
            assert_ne!(of(key, &owner), plain, "{key:?}");
        }
        assert_eq!(of(&key.with_name("n").with_last_used_at(Some(day)), &owner), plain);
    }
}
