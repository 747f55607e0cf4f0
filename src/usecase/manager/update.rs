//! What is to change about a key, and how a stored one changes by it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{KeyError, limits, to_micros};
use crate::{
    state::store::Capabilities,
    value::{key::ApiKey, owner::AccountId},
};

/// What is to change about a key; what is not given stays as it is. The limits are those of
/// [`NewKey`](crate::NewKey).
///
/// Where a field may be absent, `None` takes it away: `KeyUpdate::new().expires_at(None)` makes a
/// key that never expires.
#[derive(Clone, Debug, Default)]
#[must_use = "pass it to `KeyManager::update`"]
pub struct KeyUpdate {
    name: Option<Box<str>>,
    description: Change<Box<str>>,
    version: Change<Box<str>>,
    account: Change<AccountId>,
    expires_at: Change<DateTime<Utc>>,
    scopes: Option<Vec<Box<str>>>,
    tags: Option<Vec<Box<str>>>,
    annotations: Option<BTreeMap<String, String>>,
}

/// What becomes of a field that may be absent.
#[derive(Clone, Debug, Default)]
enum Change<T> {
    #[default]
    Keep,
    To(Option<T>),
}

impl<T> Change<T> {
    fn given(&self) -> Option<&T> {
        match self {
            Self::Keep | Self::To(None) => None,
            Self::To(Some(value)) => Some(value),
        }
    }

    fn is_asked(&self) -> bool {
        matches!(self, Self::To(_))
    }
}

impl KeyUpdate {
    /// Changes nothing, until a setter says what.
    pub fn new() -> Self {
        Self::default()
    }

    /// Renames the key.
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Says what the key is for.
    pub fn description(mut self, description: Option<impl Into<Box<str>>>) -> Self {
        self.description = Change::To(description.map(Into::into));
        self
    }

    /// Sets the version of whatever the key stands for.
    pub fn version(mut self, version: Option<impl Into<Box<str>>>) -> Self {
        self.version = Change::To(version.map(Into::into));
        self
    }

    /// Moves the key to another account, or out of any.
    pub fn account(mut self, account: Option<impl Into<AccountId>>) -> Self {
        self.account = Change::To(account.map(Into::into));
        self
    }

    /// Sets the moment after which the key is refused, which lies in the future.
    pub fn expires_at(mut self, expires_at: Option<DateTime<Utc>>) -> Self {
        self.expires_at = Change::To(expires_at.map(to_micros));
        self
    }

    /// Replaces the scopes.
    pub fn scopes<S: Into<Box<str>>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// Replaces the tags.
    pub fn tags<S: Into<Box<str>>>(mut self, tags: impl IntoIterator<Item = S>) -> Self {
        self.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// Replaces the annotations.
    pub fn annotations(mut self, annotations: BTreeMap<String, String>) -> Self {
        self.annotations = Some(annotations);
        self
    }

    pub(super) fn check(
        &self,
        capabilities: Capabilities,
        now: DateTime<Utc>,
    ) -> Result<(), KeyError> {
        if self.has_metadata() && !capabilities.metadata {
            return Err(KeyError::not_in_schema(
                "names, descriptions, versions, accounts, tags and annotations",
            ));
        }
        if self.scopes.is_some() && !capabilities.scopes {
            return Err(KeyError::not_in_schema("scopes"));
        }
        self.name.iter().try_for_each(|name| limits::line("name", name))?;
        let description = self.description.given();
        description.iter().try_for_each(|text| limits::text("description", text))?;
        self.version.given().iter().try_for_each(|version| limits::line("version", version))?;
        self.account.given().into_iter().try_for_each(limits::account)?;
        self.expires_at.given().iter().try_for_each(|at| limits::expiry(**at, now))?;
        self.scopes.iter().try_for_each(|scopes| limits::scopes(scopes))?;
        self.tags.iter().try_for_each(|tags| limits::tags(tags))?;
        self.annotations.iter().try_for_each(limits::annotations)
    }

    fn has_metadata(&self) -> bool {
        self.name.is_some()
            || self.description.is_asked()
            || self.version.is_asked()
            || self.account.is_asked()
            || self.tags.is_some()
            || self.annotations.is_some()
    }

    pub(super) fn apply(&self, mut key: ApiKey) -> ApiKey {
        if let Some(name) = &self.name {
            key = key.with_name(name.clone());
        }
        if let Change::To(description) = &self.description {
            key = key.with_description(description.clone());
        }
        if let Change::To(version) = &self.version {
            key = key.with_version(version.clone());
        }
        if let Change::To(account) = &self.account {
            key = key.with_account(account.clone());
        }
        if let Change::To(expires_at) = self.expires_at {
            key = key.with_expires_at(expires_at);
        }
        if let Some(scopes) = &self.scopes {
            key = key.with_scopes(scopes.iter().cloned());
        }
        if let Some(tags) = &self.tags {
            key = key.with_tags(tags.iter().cloned());
        }
        if let Some(annotations) = &self.annotations {
            key = key.with_annotations(annotations.clone());
        }
        key
    }
}
