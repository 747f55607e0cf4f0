//! What a new key is to be.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};

use super::{KeyError, limits, to_micros};
use crate::{
    state::store::Capabilities,
    value::{
        key::{ApiKey, KeyId},
        owner::AccountId,
    },
};

/// What a new key is to be. Every field is optional: `NewKey::default()` is an active key that
/// never expires, with no scopes, called `key-` and the first eight digits of its id.
///
/// Names, versions, tags, scopes and annotations' names are one line of 1 to 255 characters,
/// descriptions and annotations' values at most 4,096 characters; a key has at most 64 tags, 64
/// scopes and 64 annotations.
#[derive(Clone, Debug, Default)]
#[must_use = "pass it to `KeyManager::create`"]
pub struct NewKey {
    name: Option<Box<str>>,
    description: Option<Box<str>>,
    version: Option<Box<str>>,
    account: Option<AccountId>,
    pub(super) expiry: Expiry,
    pub(super) token_prefix: Option<Box<str>>,
    scopes: Vec<Box<str>>,
    tags: Vec<Box<str>>,
    annotations: BTreeMap<String, String>,
    is_inactive: bool,
}

/// When a key that is to be made expires.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Expiry {
    #[default]
    Never,
    At(DateTime<Utc>),
    In(Duration),
}

impl NewKey {
    /// A key of this name; names need not be unique.
    pub fn named(name: impl Into<Box<str>>) -> Self {
        Self::default().name(name)
    }

    /// Sets the name; names need not be unique.
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Says what the key is for.
    pub fn description(mut self, description: impl Into<Box<str>>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets the version of whatever the key stands for.
    pub fn version(mut self, version: impl Into<Box<str>>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets the account the key belongs to, where accounts are used.
    pub fn account(mut self, account: impl Into<AccountId>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Lets the key expire after this moment, which lies in the future; kept to the microsecond.
    pub fn expires_at(mut self, expires_at: DateTime<Utc>) -> Self {
        self.expiry = Expiry::At(expires_at);
        self
    }

    /// Lets the key expire this long after it is made; kept to the microsecond.
    pub fn expires_in(mut self, span: Duration) -> Self {
        self.expiry = Expiry::In(span);
        self
    }

    /// Begins the token with this, in place of what the authenticator's token format says.
    pub fn token_prefix(mut self, prefix: impl Into<Box<str>>) -> Self {
        self.token_prefix = Some(prefix.into());
        self
    }

    /// Sets what the key may be used for, in this order.
    pub fn scopes<S: Into<Box<str>>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the tags, in this order.
    pub fn tags<S: Into<Box<str>>>(mut self, tags: impl IntoIterator<Item = S>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Adds an annotation: a free name and value for one's own tools.
    pub fn annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// Sets whether the key can be used at once, as it can by default.
    pub fn active(mut self, is_active: bool) -> Self {
        self.is_inactive = !is_active;
        self
    }

    fn check(&self, capabilities: Capabilities) -> Result<(), KeyError> {
        if self.is_inactive && !capabilities.activation {
            return Err(KeyError::not_in_schema("keys have no active flag"));
        }
        if self.has_metadata() && !capabilities.metadata {
            return Err(KeyError::not_in_schema(
                "names, descriptions, versions, accounts, tags and annotations",
            ));
        }
        if !self.scopes.is_empty() && !capabilities.scopes {
            return Err(KeyError::not_in_schema("scopes"));
        }
        self.name.iter().try_for_each(|name| limits::line("name", name))?;
        self.description.iter().try_for_each(|text| limits::text("description", text))?;
        self.version.iter().try_for_each(|version| limits::line("version", version))?;
        self.account.iter().try_for_each(limits::account)?;
        limits::scopes(&self.scopes)?;
        limits::tags(&self.tags)?;
        limits::annotations(&self.annotations)
    }

    /// Gives a bare key all that is said here but the expiry, once that was checked against the schema
    /// and the limits.
    pub(super) fn describe(self, key: ApiKey, can: Capabilities) -> Result<ApiKey, KeyError> {
        self.check(can)?;
        let key = key.with_active(!self.is_inactive);
        if !can.metadata {
            return Ok(key);
        }
        let name = self.name.unwrap_or_else(|| default_name(key.id()));
        Ok(key
            .with_name(name)
            .with_description(self.description)
            .with_version(self.version)
            .with_account(self.account)
            .with_scopes(self.scopes)
            .with_tags(self.tags)
            .with_annotations(self.annotations))
    }

    fn has_metadata(&self) -> bool {
        self.name.is_some()
            || self.description.is_some()
            || self.version.is_some()
            || self.account.is_some()
            || !self.tags.is_empty()
            || !self.annotations.is_empty()
    }
}

impl Expiry {
    /// The moment itself, of a key that is made now and has not expired then.
    pub(super) fn from(self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, KeyError> {
        let expires_at = self.moment(now);
        expires_at.iter().try_for_each(|at| limits::expiry(*at, now))?;
        Ok(expires_at)
    }

    /// The moment itself, passed or not.
    pub(super) fn moment(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let expires_at = match self {
            Self::Never => return None,
            Self::At(at) => at,
            // A span that leaves the calendar fails as a year beyond the last one does.
            Self::In(span) => chrono::Duration::from_std(span)
                .ok()
                .and_then(|span| now.checked_add_signed(span))
                .unwrap_or(DateTime::<Utc>::MAX_UTC),
        };
        Some(to_micros(expires_at))
    }
}

/// `key-` and the first eight digits of the id.
fn default_name(id: KeyId) -> Box<str> {
    let digits = id.as_uuid().as_fields().0;
    format!("key-{digits:08x}").into()
}
