//! Changes keys: switches them on and off, edits, deletes, and notes that one was used.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{KeyError, KeyManager, limits, policy::Judgement, settle::settle, to_micros};
use crate::{
    state::store::{Capabilities, KeyUse},
    value::{
        key::{ApiKey, KeyId, Record},
        owner::AccountId,
        subject::Subject,
    },
};

/// The source's window: `accessed()` leaves a stored time alone until it is older than this.
const ACCESS_WINDOW: chrono::Duration = chrono::Duration::minutes(5);

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

    fn check(&self, capabilities: Capabilities, now: DateTime<Utc>) -> Result<(), KeyError> {
        if self.has_metadata() && !capabilities.metadata {
            return Err(KeyError::not_in_schema(
                "names, descriptions, versions, accounts, scopes, tags and annotations",
            ));
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
            || self.scopes.is_some()
            || self.tags.is_some()
            || self.annotations.is_some()
    }

    fn apply(&self, mut key: ApiKey) -> ApiKey {
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

impl KeyManager {
    /// Makes a key usable; one that is active already stays so. An expired key stays expired.
    ///
    /// # Errors
    /// `is_business_rule` when the policy on [`issuing`](crate::Issuing) says no to its owner;
    /// `is_not_found`; `is_unsupported` when the store's schema has no active flag;
    /// `is_outcome_unknown` when the store failed on the way.
    pub async fn activate(&self, id: KeyId) -> Result<Record, KeyError> {
        self.switch(id, |_| true).await
    }

    /// Makes a key unusable until it is activated again. No policy refuses this, and no
    /// authentication in this process that begins after it returned is admitted.
    ///
    /// # Errors
    /// `is_not_found`; `is_unsupported` when the store's schema has no active flag: delete the key
    /// instead; `is_outcome_unknown` when the store failed on the way: deactivate it again.
    pub async fn deactivate(&self, id: KeyId) -> Result<Record, KeyError> {
        self.switch(id, |_| false).await
    }

    /// Deactivates an active key, and activates an inactive one.
    ///
    /// # Errors
    /// Those of [`activate`](Self::activate); a policy can refuse the way on only, never the way off.
    pub async fn toggle_active(&self, id: KeyId) -> Result<Record, KeyError> {
        self.switch(id, |was_active| !was_active).await
    }

    /// Notes that a key is used now, as the source's `accessed()` does: writes when the stored time
    /// is absent or older than five minutes, and says whether it wrote. An authenticator's access
    /// recorder does this by itself for every key that it admits.
    ///
    /// # Errors
    /// `is_not_found`; `is_unsupported` when the store keeps no last use or may not write it;
    /// `is_unavailable` when it failed (calling again does no harm).
    pub async fn accessed(&self, id: KeyId) -> Result<bool, KeyError> {
        let repository = self.repository()?;
        if !repository.capabilities().last_use {
            return Err(KeyError::not_in_schema("when a key was last used"));
        }
        let digest = *self.get(id).await?.key().digest();
        let at = self.now();
        let key_use = KeyUse { key: id, digest, at, if_before: at - ACCESS_WINDOW };
        let written = repository.record_uses(&[key_use]).await;
        Ok(written.map_err(KeyError::noting)? > 0)
    }

    /// Changes what `update` gives and leaves the rest.
    ///
    /// # Errors
    /// `is_invalid` when a field is too long, or the expiry not in the future (to end a key now,
    /// deactivate it); `is_not_found`; `is_unsupported` when the store's schema has no place for a
    /// field; `is_outcome_unknown` when the store failed on the way.
    pub async fn update(&self, id: KeyId, update: KeyUpdate) -> Result<Record, KeyError> {
        let repository = self.repository()?;
        let now = self.now();
        update.check(repository.capabilities(), now)?;
        let mut edit =
            |record: &Record| Some(update.apply(record.key().clone()).with_updated_at(now));
        let change = repository.update(id, &mut edit);
        let outcome = settle(&*self.inner, &[Subject::Key(id)], change).await;
        outcome.map_err(KeyError::changing_key)
    }

    /// Deletes a key for good, and returns it as it was.
    ///
    /// # Errors
    /// `is_not_found`; `is_outcome_unknown` when the store failed on the way: delete it again.
    pub async fn delete(&self, id: KeyId) -> Result<Record, KeyError> {
        let change = self.repository()?.delete(id);
        let outcome = settle(&*self.inner, &[Subject::Key(id)], change).await;
        outcome.map_err(KeyError::changing_key)
    }

    async fn switch(&self, id: KeyId, becomes: fn(bool) -> bool) -> Result<Record, KeyError> {
        let repository = self.repository()?;
        if !repository.capabilities().activation {
            return Err(KeyError::not_in_schema("keys have no active flag"));
        }
        let now = self.now();
        let mut judgement = Judgement::by(&self.inner.settings.issuing);
        let mut edit = |record: &Record| {
            let is_active = becomes(record.key().is_active());
            // A store may run this again on another row than the last time: the way off forgets
            // what was said about the way on.
            let is_admitted = if is_active {
                judgement.admits(record.owner())
            } else {
                judgement.forget();
                true
            };
            is_admitted.then(|| record.key().clone().with_active(is_active).with_updated_at(now))
        };
        let change = repository.update(id, &mut edit);
        let outcome = settle(&*self.inner, &[Subject::Key(id)], change).await;
        outcome.map_err(|error| judgement.explain(error, KeyError::changing_key))
    }
}
