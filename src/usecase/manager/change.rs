//! Changes keys: switches them on and off, edits, deletes, and notes that one was used.

use super::{KeyError, KeyManager, policy::Judgement, settle::settle, update::KeyUpdate};
use crate::{
    state::store::KeyUse,
    usecase::events::Event,
    value::{
        key::{KeyId, Record},
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
        let record = outcome.map_err(KeyError::changing_key)?;
        self.inner.tell(Event::Updated { key: id, owner: record.owner().id() });
        Ok(record)
    }

    /// Deletes a key for good, and returns it as it was.
    ///
    /// # Errors
    /// `is_not_found`; `is_outcome_unknown` when the store failed on the way: delete it again.
    pub async fn delete(&self, id: KeyId) -> Result<Record, KeyError> {
        let change = self.repository()?.delete(id);
        let outcome = settle(&*self.inner, &[Subject::Key(id)], change).await;
        let record = outcome.map_err(KeyError::changing_key)?;
        self.inner.tell(Event::Deleted { key: id, owner: record.owner().id() });
        Ok(record)
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
        let record = outcome.map_err(|error| judgement.explain(error, KeyError::changing_key))?;
        let (key, owner) = (id, record.owner().id());
        let is_active = record.key().is_active();
        self.inner.tell(if is_active {
            Event::Activated { key, owner }
        } else {
            Event::Deactivated { key, owner }
        });
        Ok(record)
    }
}
