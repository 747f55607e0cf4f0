//! Issues keys.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};

use super::{KeyError, KeyManager, limits, policy::Judgement, settle::settle, to_micros};
use crate::{
    state::store::Capabilities,
    usecase::events::Event,
    value::{
        format::{self, TokenFormat},
        key::{ApiKey, KeyId, Record},
        owner::{AccountId, Owner},
        subject::Subject,
        token::Token,
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
    expiry: Expiry,
    token_prefix: Option<Box<str>>,
    scopes: Vec<Box<str>>,
    tags: Vec<Box<str>>,
    annotations: BTreeMap<String, String>,
    is_inactive: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Expiry {
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
                "names, descriptions, versions, accounts, scopes, tags and annotations",
            ));
        }
        self.name.iter().try_for_each(|name| limits::line("name", name))?;
        self.description.iter().try_for_each(|text| limits::text("description", text))?;
        self.version.iter().try_for_each(|version| limits::line("version", version))?;
        self.account.iter().try_for_each(limits::account)?;
        limits::scopes(&self.scopes)?;
        limits::tags(&self.tags)?;
        limits::annotations(&self.annotations)
    }

    fn has_metadata(&self) -> bool {
        self.name.is_some()
            || self.description.is_some()
            || self.version.is_some()
            || self.account.is_some()
            || !self.scopes.is_empty()
            || !self.tags.is_empty()
            || !self.annotations.is_empty()
    }

    fn expires_at_from(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, KeyError> {
        let expires_at = match self.expiry {
            Expiry::Never => return Ok(None),
            Expiry::At(at) => at,
            // A span that leaves the calendar fails as a year beyond the last one does.
            Expiry::In(span) => chrono::Duration::from_std(span)
                .ok()
                .and_then(|span| now.checked_add_signed(span))
                .unwrap_or(DateTime::<Utc>::MAX_UTC),
        };
        let expires_at = to_micros(expires_at);
        limits::expiry(expires_at, now)?;
        Ok(Some(expires_at))
    }
}

impl KeyManager {
    /// Issues a key: returns its record, and its token, which is stored nowhere and shown this once.
    ///
    /// The owner's row is made if there is none; one that is there is left unchanged. The policy on
    /// [`issuing`](crate::Issuing) judges the stored row.
    ///
    /// # Errors
    /// `is_business_rule` when the policy says no: neither key nor owner is written then.
    /// `is_invalid` when a field is too long, or the expiry not in the future. `is_unsupported`
    /// when the store's schema has no place for a field that was given. `is_outcome_unknown` when
    /// the store failed on the way: the key may be there, but nobody knows its token, so delete it.
    pub async fn create(
        &self,
        owner: impl Into<Owner>,
        new: NewKey,
    ) -> Result<(Record, Token), KeyError> {
        let repository = self.repository()?;
        let owner = owner.into();
        limits::owner(&owner)?;
        new.check(repository.capabilities())?;
        let now = self.now();
        let expires_at = new.expires_at_from(now)?;
        let token = self.new_token(new.token_prefix.as_deref())?;

        let digest = token.digest(repository.digest_algorithm());
        let mut key = ApiKey::new(KeyId::random(), digest, owner.id().clone(), now)
            .with_token_key(token.token_key())
            .with_expires_at(expires_at)
            .with_active(!new.is_inactive);
        if repository.capabilities().metadata {
            let name = new.name.unwrap_or_else(|| default_name(key.id()));
            key = key
                .with_name(name)
                .with_description(new.description)
                .with_version(new.version)
                .with_account(new.account)
                .with_scopes(new.scopes)
                .with_tags(new.tags)
                .with_annotations(new.annotations);
        }

        let mut judgement = Judgement::by(&self.inner.settings.issuing);
        let subjects = [Subject::Digest(digest), Subject::Key(key.id())];
        let mut judge = |stored: &Owner| judgement.admits(stored);
        let insert = repository.insert(key, owner, &mut judge);
        match settle(&*self.inner, &subjects, insert).await {
            Ok(record) => {
                let (key, owner) = (record.id(), record.owner().id());
                self.inner.tell(Event::Created { key, owner });
                Ok((record, token))
            }
            Err(error) => Err(judgement.explain(error, KeyError::changing_key)),
        }
    }

    fn new_token(&self, prefix: Option<&str>) -> Result<Token, KeyError> {
        let settings = &self.inner.settings;
        let own = prefix.map(|prefix| settings.token_format.with_prefix(prefix)).transpose();
        let own = own.map_err(|error| KeyError::invalid(error.to_string()))?;
        let format: &TokenFormat = own.as_ref().unwrap_or(&settings.token_format);
        let token = format.generate().map_err(|error| KeyError::internal(error.to_string()))?;
        // A plain token under a prefix that promises checksums would be refused before the store
        // is asked: a key that can never be used.
        let refuses = |prefix| format::checksum_holds(token.expose(), prefix) == Some(false);
        if settings.checksummed_prefixes.iter().any(|prefix| refuses(prefix)) {
            return Err(KeyError::invalid(
                "this token prefix is registered as checksummed, and the token format is not: \
                 choose another prefix",
            ));
        }
        Ok(token)
    }
}

/// `key-` and the first eight digits of the id.
fn default_name(id: KeyId) -> Box<str> {
    let digits = id.as_uuid().as_fields().0;
    format!("key-{digits:08x}").into()
}
