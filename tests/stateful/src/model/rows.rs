//! What a store ought to hold.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use tower_token_auth::{ApiKey, KeyId, Owner, TokenDigest, store::KeyWrite};

pub type Moment = DateTime<Utc>;

/// Whom keys may belong to, by number.
pub const OWNERS: [&str; 3] = ["ada", "bob", "eve"];
/// What keys may be used for, by bit.
pub const SCOPES: [&str; 3] = ["read", "write", "admin"];

/// A key as it ought to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: KeyId,
    pub digest: TokenDigest,
    pub owner: u8,
    pub active: bool,
    pub scopes: u8,
    pub created: Moment,
    pub updated: Moment,
    pub expires: Option<Moment>,
    pub used: Option<Moment>,
    pub predecessor: Option<KeyId>,
}

impl Row {
    /// Whether it is what a repair leaves in the place of a key until it takes that away.
    pub fn keeps_a_place(&self) -> bool {
        !self.active && self.expires == Some(self.created) && self.predecessor.is_none()
    }

    pub fn of(key: &ApiKey) -> Self {
        Self {
            id: key.id(),
            digest: *key.digest(),
            owner: number_of(key.owner_id().as_str()),
            active: key.is_active(),
            scopes: bits_of(key.scopes()),
            created: key.created_at(),
            updated: key.updated_at(),
            expires: key.expires_at(),
            used: key.last_used_at(),
            predecessor: key.predecessor(),
        }
    }

    pub fn is_expired(&self, now: Moment) -> bool {
        self.expires.is_some_and(|at| at < now)
    }

    /// When it is written at `now`: never at the same time twice, so that others see that it was.
    pub fn written(&self, now: Moment) -> Moment {
        now.max(self.updated + TimeDelta::microseconds(1))
    }

    /// Whether it can be used, as far as it depends on itself.
    pub fn is_alive(&self, now: Moment) -> bool {
        self.active && !self.is_expired(now)
    }
}

pub fn number_of(owner: &str) -> u8 {
    let number = OWNERS.iter().position(|known| *known == owner).expect("one of the owners");
    number.try_into().expect("there are three")
}

pub fn bits_of<'a>(scopes: impl Iterator<Item = &'a str>) -> u8 {
    let bit =
        |scope| 1 << SCOPES.iter().position(|known| *known == scope).expect("a scope of ours");
    scopes.map(bit).sum()
}

pub fn scopes_of(bits: u8) -> impl Iterator<Item = &'static str> {
    SCOPES.into_iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1).map(|(_, s)| s)
}

/// An owner as it ought to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerRow {
    pub active: bool,
    pub staff: bool,
}

impl OwnerRow {
    /// What every call hands over that may have to make one.
    pub const NEW: Self = Self { active: true, staff: true };

    pub fn of(owner: &Owner) -> Self {
        Self { active: owner.is_active(), staff: owner.is_staff() }
    }
}

/// One row that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    Add(Row),
    Set(Row),
    Take(Row),
    Owner(u8, OwnerRow),
}

/// All that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    pub keys: BTreeMap<KeyId, Row>,
    /// Those that are there, first the one that was added first.
    pub as_added: Vec<KeyId>,
    pub owners: BTreeMap<u8, OwnerRow>,
}

impl Rows {
    pub fn apply(&mut self, edits: &[Edit]) {
        for edit in edits {
            match edit {
                Edit::Add(row) | Edit::Set(row) => {
                    if self.keys.insert(row.id, row.clone()).is_none() {
                        self.as_added.push(row.id);
                    }
                }
                Edit::Take(row) => {
                    self.keys.remove(&row.id);
                    self.as_added.retain(|other| *other != row.id);
                }
                Edit::Owner(owner, row) => drop(self.owners.insert(*owner, *row)),
            }
        }
    }

    /// What a write of a store's contract does. A store keeps what was recorded of a key's uses,
    /// whatever an update says of them.
    pub fn edit_of(&self, write: &KeyWrite) -> Option<Edit> {
        Some(match write {
            KeyWrite::Insert(key) => Edit::Add(Row::of(key)),
            KeyWrite::Update(key) => {
                let used = self.keys.get(&key.id())?.used;
                Edit::Set(Row { used, ..Row::of(key) })
            }
            KeyWrite::Delete(id) => Edit::Take(self.keys.get(id)?.clone()),
            _ => return None,
        })
    }

    /// In the order of a listing.
    pub fn in_order(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.keys.values().collect();
        rows.sort_by_key(|row| (row.created, row.id));
        rows
    }

    pub fn with_digest(&self, digest: &TokenDigest) -> Option<&Row> {
        self.keys.values().find(|row| row.digest == *digest)
    }

    pub fn successor_of(&self, id: KeyId) -> Option<&Row> {
        self.keys.values().find(|row| row.predecessor == Some(id))
    }

    /// The key that this one replaced, while it can still be used.
    pub fn in_grace(&self, row: &Row, now: Moment) -> Option<&Row> {
        self.keys.get(&row.predecessor?).filter(|older| older.is_alive(now))
    }

    pub fn is_taken(&self, row: &Row) -> bool {
        self.keys.contains_key(&row.id)
            || self.with_digest(&row.digest).is_some()
            || row.predecessor.is_some_and(|id| self.successor_of(id).is_some())
    }
}
