//! Replaces a key by a new one, at once or with a grace.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, Utc};

use super::{
    KeyError, KeyManager,
    change::end_of_grace,
    error::REPLACED,
    judgement::{Judgement, Need},
    limits::LAST_YEAR,
    new_key::Expiry,
    to_micros,
};
use crate::{
    state::store::{Capabilities, Family, KeyWrite},
    value::{
        digest::TokenDigest,
        key::{ApiKey, KeyId, Record},
        token::{Token, TokenKey},
    },
};

const INACTIVE: &str =
    "only an active key can be rotated: activate it first, or create another one";
const EXPIRED: &str = "this key has expired, so that it can't be rotated: create another one";

/// How a key is to be replaced. `Rotation::default()` ends the old key at once, and the new one
/// inherits all, its expiry included.
#[derive(Clone, Debug, Default)]
#[must_use = "pass it to `KeyManager::rotate`"]
pub struct Rotation {
    grace: Duration,
    expiry: Option<Expiry>,
    token_prefix: Option<Box<str>>,
}

impl Rotation {
    /// Ends the old key at once.
    pub fn at_once() -> Self {
        Self::default()
    }

    /// Lets the old key be used for this much longer, at most to its own expiry, so that its holders
    /// can change over. No longer than the authenticator's
    /// [`max_grace`](crate::AuthenticatorBuilder::max_grace).
    pub fn with_grace(grace: Duration) -> Self {
        Self { grace, ..Self::default() }
    }

    /// Lets the new key expire after this moment, which lies in the future, or never, whenever the
    /// old one would have.
    pub fn expires_at(mut self, expires_at: Option<DateTime<Utc>>) -> Self {
        self.expiry = Some(expires_at.map_or(Expiry::Never, Expiry::At));
        self
    }

    /// Lets the new key expire this long after the rotation.
    pub fn expires_in(mut self, span: Duration) -> Self {
        self.expiry = Some(Expiry::In(span));
        self
    }

    /// Begins the new token with this, in place of what the authenticator's token format says.
    pub fn token_prefix(mut self, prefix: impl Into<Box<str>>) -> Self {
        self.token_prefix = Some(prefix.into());
        self
    }
}

impl KeyManager {
    /// Replaces a key: makes one that inherits all of it under a new id and a new token, and ends the
    /// old one, at once or after a grace. Returns the new key's record, and its token, which is shown
    /// this once.
    ///
    /// The old key is given the earlier of its own expiry and the grace's end. Without a grace it is
    /// deactivated as well, so that no clock brings it back; on a schema without an active flag it is
    /// deleted. Rotating the new key ends an older grace at once; so does deactivating or deleting it.
    /// Only a key that is active, has not expired, and has no successor can be rotated, and only if
    /// the policy on [`issuing`](crate::Issuing) lets its owner hold a working key.
    ///
    /// # Errors
    /// `is_business_rule` when one of those says no; `is_not_found`; `is_forbidden` on behalf of a
    /// caller who may see the key and is neither its owner nor a superuser; `is_invalid` when the
    /// grace is longer than allowed, the expiry not in the future, or the token prefix none;
    /// `is_unsupported` when a grace is asked of a schema that does not record which key replaced
    /// which; `is_outcome_unknown` when the store failed on the way: nobody knows the new key's token
    /// then, so it is made inactive, or deleted where the schema has no active flag, and the old key
    /// becomes what it was, unless somebody has changed it since.
    pub async fn rotate(&self, id: KeyId, rotation: Rotation) -> Result<(Record, Token), KeyError> {
        let repository = self.repository()?;
        let can = repository.capabilities();
        let now = self.now();
        let end = self.end_of(rotation.grace, can, now)?;
        let expiry = rotation.expiry;
        expiry.map(|expiry| expiry.from(now)).transpose()?;
        let token = self.new_token(rotation.token_prefix.as_deref())?;
        let digest = token.digest(repository.digest_algorithm());
        let fresh =
            Fresh { id: self.new_id(&digest)?, digest, token_key: token.token_key(), expiry, now };
        let changed = self
            .change_keys(&[id], |family, judgement| {
                may_rotate(family, judgement, now).then(|| fresh.writes(family, end, can))
            })
            .await
            .map_err(KeyError::issuing)?;
        let made = changed.into_iter().find(|record| record.key().digest() == &fresh.digest);
        Ok((made.ok_or_else(KeyError::no_such_key)?, token))
    }

    /// When the old key's grace ends, which is later than `now`; `None` if it has none.
    fn end_of(
        &self,
        grace: Duration,
        can: Capabilities,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, KeyError> {
        if grace.is_zero() {
            return Ok(None);
        }
        if !can.lineage {
            return Err(KeyError::not_in_schema(
                "a grace, as it does not record which key replaced which: rotate at once",
            ));
        }
        let max = self.inner.settings.max_grace;
        if max.is_zero() {
            return Err(KeyError::invalid("this authenticator gives no grace: rotate at once"));
        }
        if grace > max {
            return Err(KeyError::invalid(format!(
                "the grace is too long: give at most {}, as `max_grace` says",
                in_words(max)
            )));
        }
        let grace = chrono::Duration::from_std(grace).ok();
        let end = grace.and_then(|grace| now.checked_add_signed(grace)).map(to_micros);
        let end = end.filter(|end| end.year() <= LAST_YEAR).ok_or_else(|| {
            KeyError::invalid("the grace ends beyond the year 9999: give a shorter one")
        })?;
        // What the microsecond swallows is none.
        Ok(Some(end).filter(|end| *end > now))
    }
}

fn in_words(span: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match (span.as_secs() / DAY, span.as_secs() % DAY) {
        (1, 0) => "a day".into(),
        (days, 0) if days > 0 => format!("{days} days"),
        _ => format!("{span:?}"),
    }
}

fn may_rotate(family: &Family, judgement: &mut Judgement<'_>, now: DateTime<Utc>) -> bool {
    let key = family.key.key();
    // A key that was replaced is mostly inactive or expired as well, and should not be told to become
    // usable again for that.
    judgement.lets(Need::Secret, key, family.caller.as_ref())
        // Whom it authenticates may be somebody else than whose it is.
        && judgement.lets_create(family.key.owner(), family.caller.as_ref())
        && (family.successor.is_none() || judgement.breaks(REPLACED))
        && (key.is_active() || judgement.breaks(INACTIVE))
        && (!key.is_expired_at(now) || judgement.breaks(EXPIRED))
        && judgement.admits(family.key.owner())
}

/// What the new key does not inherit.
struct Fresh {
    id: KeyId,
    digest: TokenDigest,
    token_key: TokenKey,
    /// `None` inherits the old key's.
    expiry: Option<Expiry>,
    now: DateTime<Utc>,
}

impl Fresh {
    fn writes(
        &self,
        family: &Family,
        end: Option<DateTime<Utc>>,
        can: Capabilities,
    ) -> Vec<KeyWrite> {
        let old = family.key.key();
        let expires_at = self.expiry.map_or(old.expires_at(), |expiry| expiry.moment(self.now));
        let successor = ApiKey::new(self.id, self.digest, old.owner_id().clone(), self.now)
            .with_token_key(self.token_key.clone())
            .inheriting(old)
            .with_expires_at(expires_at)
            .with_predecessor(can.lineage.then_some(old.id()));
        let old = if end.is_none() && !can.activation {
            // An expiry alone is a clock's to bring back, and admits to the end of its microsecond.
            KeyWrite::Delete(old.id())
        } else {
            let last = end.unwrap_or(self.now);
            let earlier = old.expires_at().map_or(last, |own| own.min(last));
            let old = old.clone().with_expires_at(Some(earlier)).with_active(end.is_some());
            KeyWrite::Update(old.with_updated_at(self.now))
        };
        // The old key first: what is left of it tells whether the rotation can be undone.
        let older = end_of_grace(family, self.now, can.activation);
        [old, KeyWrite::Insert(successor)].into_iter().chain(older).collect()
    }
}
