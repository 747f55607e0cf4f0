//! Changes keys: switches them on and off, edits, deletes, and notes that one was used.

use chrono::{DateTime, Utc};

use super::{KeyError, KeyManager, judgement::Need, update::KeyUpdate};
use crate::{
    state::store::{Family, KeyUse, KeyWrite},
    value::{
        key::{ApiKey, KeyId, Record},
        subject::Subject,
    },
};

/// The source's window: `accessed()` leaves a stored time alone until it is older than this.
const ACCESS_WINDOW: chrono::Duration = chrono::Duration::minutes(5);

impl KeyManager {
    /// Makes a key usable; one that is active already stays so. An expired key stays expired.
    ///
    /// # Errors
    /// `is_business_rule` when the policy on [`issuing`](crate::Issuing) says no to its owner;
    /// `is_not_found`; `is_forbidden` on behalf of a caller who may see the key and not change it;
    /// `is_unsupported` when the store's schema has no active flag; `is_outcome_unknown` when the store
    /// failed on the way.
    pub async fn activate(&self, id: KeyId) -> Result<Record, KeyError> {
        self.switch(id, |_| true).await
    }

    /// Makes a key unusable until it is activated again, and with it the key that it replaced, if that
    /// one is still in its [grace](Self::rotate). No policy refuses this, and no authentication in
    /// this process that begins after it returned is admitted.
    ///
    /// # Errors
    /// `is_not_found`; `is_forbidden` on behalf of a caller who may see the key and not change it;
    /// `is_unsupported` when the store's schema has no active flag: delete the key instead;
    /// `is_outcome_unknown` when the store failed on the way: the key is not admitted from then on, and
    /// deactivated as soon as the store answers.
    pub async fn deactivate(&self, id: KeyId) -> Result<Record, KeyError> {
        self.switch(id, |_| false).await
    }

    /// Ends the key of a token that has leaked: deactivates it or, on a schema without an active flag,
    /// deletes it. Returns its record.
    ///
    /// # Errors
    /// `is_not_found` when it is no key's token; those of [`deactivate`](Self::deactivate). The token
    /// itself is in none of them.
    pub async fn revoke_token(&self, token: &str) -> Result<Record, KeyError> {
        // A key that was lost on its way out must not come back after it was looked for in vain.
        let digest = self.digest_of_pasted(token)?;
        self.settled(&[Subject::Digest(digest)]).await?;
        let id = self.find_by_token(token).await?.id();
        if self.repository()?.capabilities().activation {
            self.deactivate(id).await
        } else {
            self.delete(id).await
        }
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
    /// `is_not_found`; `is_forbidden` on behalf of a caller who may see the key and not change it;
    /// `is_unsupported` when the store keeps no last use or may not write it; `is_unavailable` when it failed (calling again does no harm).
    pub async fn accessed(&self, id: KeyId) -> Result<bool, KeyError> {
        let repository = self.repository()?;
        if !repository.capabilities().last_use {
            return Err(KeyError::not_in_schema("when a key was last used"));
        }
        let digest = *self.manageable(id).await?.key().digest();
        let at = self.now();
        let key_use = KeyUse { key: id, digest, at, if_before: at - ACCESS_WINDOW };
        let written = repository.record_uses(&[key_use]).await;
        Ok(written.map_err(KeyError::noting)? > 0)
    }

    /// Changes what `update` gives and leaves the rest. Scopes that it takes away are also taken from
    /// the key that this one replaced, if that one is still in its [grace](Self::rotate).
    ///
    /// # Errors
    /// `is_invalid` when a field is too long, or the expiry not in the future (to end a key now,
    /// deactivate it); `is_not_found`; `is_forbidden` on behalf of a caller who may see the key and not
    /// change it; `is_unsupported` when the store's schema has no place for a field;
    /// `is_outcome_unknown` when the store failed on the way.
    pub async fn update(&self, id: KeyId, update: KeyUpdate) -> Result<Record, KeyError> {
        let now = self.now();
        update.check(self.repository()?.capabilities(), now)?;
        self.change_one(id, |family, judgement| {
            judgement.lets(Need::Manage, family.key.key(), family.caller.as_ref()).then(|| {
                let before = family.key.key();
                let after = update.apply(before.clone()).with_updated_at(now);
                let narrowed = in_grace(family, now)
                    .filter(|_| before.scopes_beyond(&after).next().is_some())
                    .map(|older| {
                        older.clone().narrowed_by(before, &only_scopes_of(before, &after))
                    });
                let narrowed = narrowed.map(|older| KeyWrite::Update(older.with_updated_at(now)));
                [KeyWrite::Update(after)].into_iter().chain(narrowed).collect()
            })
        })
        .await
    }

    /// Deletes a key for good, and with it the key that it replaced, if that one is still in its
    /// [grace](Self::rotate). Returns it as it was.
    ///
    /// # Errors
    /// `is_not_found`; `is_forbidden` on behalf of a caller who may see the key and not change it;
    /// `is_outcome_unknown` when the store failed on the way: the key is not admitted from then on, and
    /// deleted as soon as the store answers.
    pub async fn delete(&self, id: KeyId) -> Result<Record, KeyError> {
        let now = self.now();
        self.change_one(id, |family, judgement| {
            judgement
                .lets(Need::Manage, family.key.key(), family.caller.as_ref())
                .then(|| deletion(family, now))
        })
        .await
    }

    async fn switch(&self, id: KeyId, becomes: fn(bool) -> bool) -> Result<Record, KeyError> {
        if !self.repository()?.capabilities().activation {
            return Err(KeyError::not_in_schema("keys have no active flag"));
        }
        let now = self.now();
        self.change_one(id, |family, judgement| {
            let key = family.key.key();
            let is_active = becomes(key.is_active());
            let may = judgement.lets(Need::Manage, key, family.caller.as_ref())
                && (!is_active || judgement.admits(family.key.owner()));
            may.then(|| {
                if is_active {
                    vec![KeyWrite::Update(key.clone().with_active(true).with_updated_at(now))]
                } else {
                    deactivation(family, now)
                }
            })
        })
        .await
    }

    /// The key, if the caller may change it.
    async fn manageable(&self, id: KeyId) -> Result<Record, KeyError> {
        if self.caller.is_none() {
            return self.get(id).await;
        }
        let mut seen = None;
        self.change_keys(&[id], |family, judgement| {
            seen = Some(family.key.clone());
            let may = judgement.lets(Need::Manage, family.key.key(), family.caller.as_ref());
            may.then(Vec::new)
        })
        .await?;
        seen.ok_or_else(KeyError::no_such_key)
    }
}

/// The key that this one replaced, if it can still be used.
pub(super) fn in_grace(family: &Family, now: DateTime<Utc>) -> Option<&ApiKey> {
    family.predecessor.as_ref().filter(|older| older.is_active() && !older.is_expired_at(now))
}

/// Ends the grace of the key that this one replaced: for good, by its flag, or where the schema has
/// none by deleting it.
pub(super) fn end_of_grace(
    family: &Family,
    now: DateTime<Utc>,
    has_flag: bool,
) -> Option<KeyWrite> {
    let older = in_grace(family, now)?;
    Some(if has_flag {
        KeyWrite::Update(older.clone().with_active(false).with_updated_at(now))
    } else {
        KeyWrite::Delete(older.id())
    })
}

pub(super) fn deactivation(family: &Family, now: DateTime<Utc>) -> Vec<KeyWrite> {
    let key = family.key.key().clone().with_active(false).with_updated_at(now);
    [KeyWrite::Update(key)].into_iter().chain(end_of_grace(family, now, true)).collect()
}

pub(super) fn deletion(family: &Family, now: DateTime<Utc>) -> Vec<KeyWrite> {
    let older = in_grace(family, now).map(|older| KeyWrite::Delete(older.id()));
    [KeyWrite::Delete(family.key.id())].into_iter().chain(older).collect()
}

/// `before` with the scopes of `after`: what of a change a predecessor takes part in.
fn only_scopes_of(before: &ApiKey, after: &ApiKey) -> ApiKey {
    before.clone().with_scopes(after.scopes())
}
