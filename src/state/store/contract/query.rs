//! Which keys a listing is to answer with, and in which order.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use super::filter::{KeyFilter, Standing};
use crate::value::{
    key::{ApiKey, KeyId, Record},
    owner::{AccountId, Owner, OwnerId},
};

/// Which keys [`KeyRepository::list`](super::KeyRepository::list) is to answer with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyQuery {
    /// What the keys must be, and how users must stand to them.
    pub filter: KeyFilter,
    /// The platform's account, if there is one.
    pub platform: Option<AccountId>,
    /// Oldest or newest first.
    pub order: KeyOrder,
    /// Only keys that come after this place in that order.
    pub after: Option<Cursor>,
    /// At most so many; at least 1.
    pub limit: u32,
}

/// The order of a listing. Both are by what never changes, so that no change shifts a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyOrder {
    /// By the time they were made, ties by id.
    #[default]
    OldestFirst,
    /// The same, backwards.
    NewestFirst,
}

/// A place in a listing: behind the key that was made then and has this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cursor {
    /// When that key was made.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: KeyId,
}

impl KeyQuery {
    /// The first `limit` keys of all, oldest first.
    #[must_use]
    pub fn first(limit: u32) -> Self {
        Self {
            filter: KeyFilter::default(),
            platform: None,
            order: KeyOrder::default(),
            after: None,
            limit: limit.max(1),
        }
    }

    /// Goes on behind `cursor`.
    #[must_use]
    pub fn after(mut self, cursor: Option<Cursor>) -> Self {
        self.after = cursor;
        self
    }

    /// Only keys that pass `filter`.
    #[must_use]
    pub fn filter(mut self, filter: KeyFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Names the platform's account.
    #[must_use]
    pub fn platform(mut self, platform: Option<AccountId>) -> Self {
        self.platform = platform;
        self
    }

    /// In this order.
    #[must_use]
    pub fn order(mut self, order: KeyOrder) -> Self {
        self.order = order;
        self
    }

    /// Whether a key belongs on a page of this query; `owner` finds an owner's stored row. With
    /// [`compare`](Self::compare) this is the whole of a listing, for stores that look through their
    /// keys one by one.
    pub fn admits<'a>(&self, key: &ApiKey, owner: impl Fn(&OwnerId) -> Option<&'a Owner>) -> bool {
        let place = Cursor::behind(key);
        self.after.is_none_or(|after| self.order.compare(&place, &after).is_gt())
            && self.filter.admits(key)
            && self.filter.standing.iter().all(|Standing { user, relation }| {
                owner(user).is_some_and(|user| relation.holds(user, key, self.platform.as_ref()))
            })
    }

    /// Which of two records comes first.
    #[must_use]
    pub fn compare(&self, one: &Record, other: &Record) -> Ordering {
        self.order.compare(&Cursor::behind(one.key()), &Cursor::behind(other.key()))
    }
}

impl KeyOrder {
    /// Which of two places comes first.
    #[must_use]
    pub fn compare(self, one: &Cursor, other: &Cursor) -> Ordering {
        match self {
            Self::OldestFirst => one.cmp(other),
            Self::NewestFirst => other.cmp(one),
        }
    }
}

impl Cursor {
    /// The place behind `key`.
    #[must_use]
    pub fn behind(key: &ApiKey) -> Self {
        Self { created_at: key.created_at(), id: key.id() }
    }
}
