//! Changes many keys: all of an owner's, all that have expired, all that nobody uses.

use chrono::{DateTime, Utc};

use super::{
    KeyError, KeyManager,
    change::{deactivation, deletion},
    judgement::Judgement,
};
use crate::{
    state::store::{Family, KeyFilter, KeyQuery, KeyWrite},
    value::{
        key::{KeyId, Record},
        owner::OwnerId,
    },
};

/// How many keys one transaction changes: few enough that others wait for it only milliseconds.
const BATCH: u32 = 200;
/// How often a batch may find that others have changed all of its keys since it looked.
const MAX_IDLE: usize = 8;

impl KeyManager {
    /// Deactivates every active key of the owner for good, those in a grace included; on a schema
    /// without an active flag it deletes them. Says how many. Keys that are made afterwards are not
    /// touched: deactivate the owner to refuse those too.
    ///
    /// It goes on in batches, each a transaction of its own. If it fails on the way, call it again.
    ///
    /// # Errors
    /// `is_not_found` when there is no such owner; `is_forbidden` on behalf of anybody but the owner
    /// and superusers; `is_outcome_unknown` when the store failed on the way.
    pub async fn revoke_all(&self, owner: impl Into<OwnerId>) -> Result<u64, KeyError> {
        let (owner, now) = (owner.into(), self.now());
        let repository = self.repository()?;
        let has_flag = repository.capabilities().activation;
        let known = repository.owner(&owner).await.map_err(KeyError::reading)?;
        known.ok_or_else(KeyError::no_such_owner)?;
        let mut filter = KeyFilter::all().owner(&owner);
        filter.active = has_flag.then_some(true);
        self.change_all(
            filter,
            |family, judgement| judgement.lets_rule(family.caller.as_ref(), Some(&owner)),
            |family| if has_flag { deactivation(family, now) } else { deletion(family, now) },
        )
        .await
    }

    /// Deletes the keys that expired before this moment, which is not in the future. Says how many.
    /// It goes on in batches, as [`revoke_all`](Self::revoke_all) does.
    ///
    /// # Errors
    /// `is_invalid` when the moment is in the future; `is_forbidden` on behalf of anybody but a
    /// superuser; `is_outcome_unknown` when the store failed on the way.
    pub async fn delete_expired(&self, before: DateTime<Utc>) -> Result<u64, KeyError> {
        let now = self.now();
        if before > now {
            return Err(KeyError::invalid(
                "only keys that have expired are deleted: give a moment that is not in the future",
            ));
        }
        self.change_all(
            KeyFilter::all().expires_before(before),
            |family, judgement| judgement.lets_rule(family.caller.as_ref(), None),
            |family| deletion(family, now),
        )
        .await
    }

    /// Deactivates the active keys that were not used at this moment or later; one that was never
    /// used counts from when it was made. Says how many. It goes on in batches, as
    /// [`revoke_all`](Self::revoke_all) does.
    ///
    /// # Errors
    /// `is_invalid` when the moment is so close that a key in use would be among them, as last uses
    /// are kept only so [closely](crate::AuthenticatorBuilder::last_used); `is_unsupported` when this
    /// authenticator or the store keeps no last uses, or no active flag; `is_forbidden` on behalf of
    /// anybody but a superuser; `is_outcome_unknown` when the store failed on the way.
    pub async fn deactivate_unused(&self, since: DateTime<Utc>) -> Result<u64, KeyError> {
        let now = self.now();
        if !self.repository()?.capabilities().activation {
            return Err(KeyError::not_in_schema("keys have no active flag"));
        }
        let Some(window) = self.inner.settings.use_window else {
            return Err(KeyError::unsupported(
                "this authenticator keeps no last uses, so that every key looks unused: deactivate \
                 keys by their ids",
            ));
        };
        // Twice: the window itself, and as much again for a recorder that has to try again.
        let coarse = chrono::Duration::from_std(window.saturating_mul(2)).ok();
        let latest = coarse.and_then(|coarse| now.checked_sub_signed(coarse));
        if latest.is_none_or(|latest| since > latest) {
            return Err(KeyError::invalid(format!(
                "last uses are kept to {} s: give a moment at least twice as long ago",
                window.as_secs()
            )));
        }
        self.change_all(
            KeyFilter::all().active(true).unused_since(since),
            |family, judgement| judgement.lets_rule(family.caller.as_ref(), None),
            |family| deactivation(family, now),
        )
        .await
    }

    /// Changes all keys that pass the filter, so that none does any more; says how many there were.
    async fn change_all(
        &self,
        filter: KeyFilter,
        mut may: impl FnMut(&Family, &mut Judgement<'_>) -> bool + Send,
        mut writes: impl FnMut(&Family) -> Vec<KeyWrite> + Send,
    ) -> Result<u64, KeyError> {
        let (mut changed, mut idle) = (0, 0);
        loop {
            // Always from the beginning: what was changed passes the filter no more, and what others
            // made or changed meanwhile stands in no particular place.
            let query = KeyQuery::first(BATCH).filter(filter.clone());
            let batch = self.repository()?.list(query).await.map_err(KeyError::reading)?;
            if batch.is_empty() {
                return Ok(changed);
            }
            let ids: Vec<KeyId> = batch.iter().map(Record::id).collect();
            let mut of_filter = 0;
            let outcome = self
                .change_keys(&ids, |family, judgement| {
                    // Asked again inside the transaction, where it counts.
                    let passes = filter.admits(family.key.key());
                    of_filter += u64::from(passes);
                    let admitted = may(family, judgement);
                    admitted.then(|| if passes { writes(family) } else { Vec::new() })
                })
                .await;
            match outcome {
                Ok(_) => changed += of_filter,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
            idle = if of_filter == 0 { idle + 1 } else { 0 };
            if idle > MAX_IDLE {
                return Err(KeyError::internal(
                    "internal error: the key store lists keys that it then does not find",
                ));
            }
        }
    }
}
