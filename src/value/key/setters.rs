//! How a record is put together and edited.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{ApiKey, Details, KeyId};
use crate::value::{owner::AccountId, token::TokenKey};

impl ApiKey {
    /// Sets the token's first 15 characters.
    #[must_use]
    pub fn with_token_key(mut self, token_key: TokenKey) -> Self {
        self.token_key = token_key;
        self
    }

    /// Sets the name; names need not be unique.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the account the key belongs to, where accounts are used.
    #[must_use]
    pub fn with_account(mut self, account: Option<AccountId>) -> Self {
        self.details_mut().account = account;
        self.settled()
    }

    /// Sets which key this one replaced.
    #[must_use]
    pub fn with_predecessor(mut self, predecessor: Option<KeyId>) -> Self {
        self.details_mut().predecessor = predecessor;
        self.settled()
    }

    /// Sets what the key is for.
    #[must_use]
    pub fn with_description(mut self, description: Option<impl Into<Box<str>>>) -> Self {
        self.details_mut().description = description.map(Into::into);
        self.settled()
    }

    /// Sets the version of whatever the key stands for.
    #[must_use]
    pub fn with_version(mut self, version: Option<impl Into<Box<str>>>) -> Self {
        self.details_mut().version = version.map(Into::into);
        self.settled()
    }

    /// Sets the tags, in their order.
    #[must_use]
    pub fn with_tags<T: Into<Box<str>>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.details_mut().tags = tags.into_iter().map(Into::into).collect();
        self.settled()
    }

    /// Sets the annotations: free names and values for the user's own tools.
    #[must_use]
    pub fn with_annotations(mut self, annotations: BTreeMap<String, String>) -> Self {
        self.details_mut().annotations = annotations;
        self.settled()
    }

    /// Sets the scopes, in their order.
    #[must_use]
    pub fn with_scopes<T: Into<Box<str>>>(mut self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Sets when the key was made, and last changed.
    #[must_use]
    pub(crate) fn with_created_at(mut self, created_at: DateTime<Utc>) -> Self {
        self.created_at = created_at;
        self.updated_at = created_at;
        self
    }

    /// Sets when the key was last changed by management.
    #[must_use]
    pub fn with_updated_at(mut self, updated_at: DateTime<Utc>) -> Self {
        self.updated_at = updated_at;
        self
    }

    /// Sets the moment after which the key is refused; `None` means never.
    #[must_use]
    pub fn with_expires_at(mut self, expires_at: Option<DateTime<Utc>>) -> Self {
        self.expires_at = expires_at;
        self
    }

    /// Sets when the key was last seen, to the microsecond; `None` means never.
    #[must_use]
    pub fn with_last_used_at(mut self, last_used_at: Option<DateTime<Utc>>) -> Self {
        self.last_use = last_used_at.into();
        self
    }

    /// Sets whether the key is active.
    #[must_use]
    pub fn with_active(mut self, is_active: bool) -> Self {
        self.is_active = is_active;
        self
    }

    /// This key with all that a key's successor has from it: what it is for and what it may do, but
    /// no expiry, times or identity.
    pub(crate) fn inheriting(mut self, older: &Self) -> Self {
        self.name = older.name.clone();
        self.scopes = older.scopes.clone();
        self.details = older.details.clone();
        self
    }

    fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }

    /// Drops the details again when a setter left nothing in them.
    fn settled(mut self) -> Self {
        if self.details.as_deref() == Some(&Details::default()) {
            self.details = None;
        }
        self
    }

    /// This edited key with what no change may touch: id, digest, token key, owner, the time it was
    /// made and its last use, as `stored` has them. For stores' `change`.
    #[must_use]
    pub fn keeping_identity_of(self, stored: &Self) -> Self {
        Self {
            id: stored.id,
            digest: stored.digest,
            token_key: stored.token_key.clone(),
            owner: stored.owner.clone(),
            created_at: stored.created_at,
            last_use: stored.last_use,
            ..self
        }
    }

    /// This key less what a change from `before` to `after` took away, and nothing that it gave: the
    /// active flag, time, scopes.
    pub(crate) fn narrowed_by(self, before: &Self, after: &Self) -> Self {
        let is_active = self.is_active && (after.is_active || !before.is_active);
        let expires_at = match (before.expires_at, after.expires_at) {
            (before, Some(after)) if before.is_none_or(|before| after < before) => {
                Some(self.expires_at.map_or(after, |own| own.min(after)))
            }
            _ => self.expires_at,
        };
        let taken: Vec<Box<str>> = before.scopes_beyond(after).map(Into::into).collect();
        let scopes: Vec<Box<str>> = self
            .scopes()
            .filter(|own| !taken.iter().any(|t| **t == **own))
            .map(Into::into)
            .collect();
        self.with_active(is_active).with_expires_at(expires_at).with_scopes(scopes)
    }

    /// The scopes of this key that `other` lacks.
    pub(crate) fn scopes_beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        self.scopes().filter(|own| !other.scopes().any(|its| its == *own))
    }
}
