//! What keys must be to be listed.

use chrono::{DateTime, Utc};

use crate::value::{
    digest::TokenDigest,
    key::{ApiKey, KeyId, Record},
    owner::OwnerId,
    ownership::Relation,
};

/// What keys must be to be listed: all that is asked. `KeyFilter::default()` asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "pass it to `KeyManager::list`"]
pub struct KeyFilter {
    /// Has this id.
    pub id: Option<KeyId>,
    /// Has this digest.
    pub digest: Option<TokenDigest>,
    /// Is this owner's.
    pub owner: Option<OwnerId>,
    /// Is active, or is not, by its own flag.
    pub active: Option<bool>,
    /// Expires, and does so before this moment.
    pub expires_before: Option<DateTime<Utc>>,
    /// Expires not before this moment, or never.
    pub expires_from: Option<DateTime<Utc>>,
    /// Was not used at this moment or later: last used before it or, if never, made before it.
    pub unused_since: Option<DateTime<Utc>>,
    /// Was never used (`true`), or once at least.
    pub never_used: Option<bool>,
    /// Was made before this moment.
    pub created_before: Option<DateTime<Utc>>,
    /// Has this tag among its tags.
    pub tag: Option<Box<str>>,
    /// Holds this text in its name or its description; ASCII letters in either case.
    pub text: Option<Box<str>>,
    /// How users must stand to it, all of them, by their rows as the same query finds them.
    pub standing: Vec<Standing>,
}

/// How a user must stand to a key. One whose row is not stored stands to no key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Whose stored row is judged.
    pub user: OwnerId,
    /// How they must stand to it.
    pub relation: Relation,
}

impl KeyFilter {
    /// Asks nothing: all keys.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only the key with this id.
    pub fn id(mut self, id: KeyId) -> Self {
        self.id = Some(id);
        self
    }

    /// Only the key with this digest.
    pub fn digest(mut self, digest: TokenDigest) -> Self {
        self.digest = Some(digest);
        self
    }

    /// Only keys of this owner.
    pub fn owner(mut self, owner: impl Into<OwnerId>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Only active keys, or only inactive ones, by their own flags: an active key may have expired,
    /// and its owner may be inactive.
    pub fn active(mut self, is_active: bool) -> Self {
        self.active = Some(is_active);
        self
    }

    /// Only keys that expire before this moment, those that have expired included.
    pub fn expires_before(mut self, moment: DateTime<Utc>) -> Self {
        self.expires_before = Some(moment);
        self
    }

    /// Only keys that have not expired before this moment, those that never do included.
    pub fn expires_from(mut self, moment: DateTime<Utc>) -> Self {
        self.expires_from = Some(moment);
        self
    }

    /// Only keys that were not used at this moment or later. One that was never used counts from
    /// when it was made, so that a new key is not called unused.
    pub fn unused_since(mut self, moment: DateTime<Utc>) -> Self {
        self.unused_since = Some(moment);
        self
    }

    /// Only keys that were never used.
    pub fn never_used(mut self) -> Self {
        self.never_used = Some(true);
        self
    }

    /// Only keys that were used once at least.
    pub fn used(mut self) -> Self {
        self.never_used = Some(false);
        self
    }

    /// Only keys that were made before this moment.
    pub fn created_before(mut self, moment: DateTime<Utc>) -> Self {
        self.created_before = Some(moment);
        self
    }

    /// Only keys with this tag.
    pub fn tag(mut self, tag: impl Into<Box<str>>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Only keys with this text in their name or description; ASCII letters in either case.
    pub fn text(mut self, text: impl Into<Box<str>>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Only keys that this user owns.
    pub fn owned_by(self, user: impl Into<OwnerId>) -> Self {
        self.standing(user, Relation::Owner)
    }

    /// Only keys that this user may see.
    pub fn readable_by(self, user: impl Into<OwnerId>) -> Self {
        self.standing(user, Relation::Reader)
    }

    /// Only keys that this user may see and does not own.
    pub fn shared_with(self, user: impl Into<OwnerId>) -> Self {
        self.standing(user, Relation::SharedWith)
    }

    /// Only keys that this user may change.
    pub fn manageable_by(self, user: impl Into<OwnerId>) -> Self {
        self.standing(user, Relation::Manager)
    }

    /// Only keys to which this user stands so; beside those that were named before.
    pub fn standing(mut self, user: impl Into<OwnerId>, relation: Relation) -> Self {
        self.standing.push(Standing { user: user.into(), relation });
        self
    }

    /// Whether a key is what is asked, how users stand to it left aside: what a database's own
    /// conditions have to agree with.
    #[must_use]
    pub fn admits(&self, key: &ApiKey) -> bool {
        self.owner.as_ref().is_none_or(|owner| key.owner_id() == owner)
            && self.admits_anybody_s(key)
    }

    /// The same of a whole record, which is the owner's as well if it authenticates them: in a schema
    /// where that may be somebody else than whose key it is, they are not told apart when keys are ended.
    #[must_use]
    pub(crate) fn admits_record(&self, record: &Record) -> bool {
        let is_of = |owner| record.key().owner_id() == owner || record.owner().id() == owner;
        self.owner.as_ref().is_none_or(is_of) && self.admits_anybody_s(record.key())
    }

    fn admits_anybody_s(&self, key: &ApiKey) -> bool {
        let used = key.last_used_at();
        let text = |text: &str| {
            let sought = text.to_ascii_lowercase();
            let holds = |in_it: &str| in_it.to_ascii_lowercase().contains(&sought);
            holds(key.name()) || key.description().is_some_and(holds)
        };
        self.id.is_none_or(|id| key.id() == id)
            && self.digest.is_none_or(|digest| *key.digest() == digest)
            && self.active.is_none_or(|active| key.is_active() == active)
            && self.expires_before.is_none_or(|t| key.expires_at().is_some_and(|at| at < t))
            && self.expires_from.is_none_or(|t| key.expires_at().is_none_or(|at| at >= t))
            && self.unused_since.is_none_or(|t| used.unwrap_or(key.created_at()) < t)
            && self.never_used.is_none_or(|never| used.is_none() == never)
            && self.created_before.is_none_or(|t| key.created_at() < t)
            && self.tag.as_deref().is_none_or(|tag| key.tags().any(|own| own == tag))
            && self.text.as_deref().is_none_or(text)
    }
}
