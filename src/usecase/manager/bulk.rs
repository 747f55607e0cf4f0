//! Changes many keys: all of an owner's, all that have expired, all that nobody uses.

use chrono::{DateTime, Utc};

use super::{
    KeyError, KeyManager,
    change::{deactivation, deletion, in_grace},
    to_micros,
};
use crate::{
    state::store::{Cursor, Family, KeyFilter, KeyOrder, KeyQuery, KeyWrite},
    value::{
        key::{KeyId, Record},
        owner::OwnerId,
        subject::Subject,
    },
};

/// How many keys one transaction changes: few enough that others wait for it some tens of
/// milliseconds at most, on an embedded store.
const BATCH: u32 = 200;
/// How often keys are gone through again for those that were made or changed meanwhile.
const MAX_PASSES: usize = 8;

impl KeyManager {
    /// Deactivates every active key of the owner for good, those in a grace included; on a schema
    /// without an active flag it deletes them. Says how many.
    ///
    /// It goes on in batches, each a transaction of its own. If it fails on the way, call it again.
    /// Keys that are made meanwhile are ended as well, unless they are made faster than it goes; those
    /// that are made afterwards are not touched. Deactivate the owner first to refuse all of them.
    ///
    /// # Errors
    /// `is_forbidden` on behalf of anybody but the owner and superusers; `is_not_found` when there is
    /// no such owner; `is_unavailable` when an earlier change to one of its keys is not settled yet;
    /// `is_outcome_unknown` when the store failed on the way.
    pub async fn revoke_all(&self, owner: impl Into<OwnerId>) -> Result<u64, KeyError> {
        let (owner, now) = (owner.into(), self.now());
        let repository = self.repository()?;
        self.may_rule(Some(&owner)).await?;
        let has_flag = repository.capabilities().activation;
        let known = repository.owner(&owner).await.map_err(KeyError::reading)?;
        known.ok_or_else(KeyError::no_such_owner)?;
        let mut filter = KeyFilter::all().owner(&owner);
        filter.active = has_flag.then_some(true);
        let writes = |family: &Family| {
            if has_flag { deactivation(family, now) } else { deletion(family, now) }
        };
        self.change_all(filter, Some(&owner), now, writes).await
    }

    /// Deletes every key with which the owner gets in, expired and inactive ones included. Says how many.
    /// It goes on in batches, as [`revoke_all`](Self::revoke_all) does.
    ///
    /// # Errors
    /// `is_forbidden` on behalf of anybody but the owner and superusers; `is_unavailable` when an earlier
    /// change to one of its keys is not settled yet; `is_outcome_unknown` when the store failed on the way.
    pub async fn delete_all(&self, owner: impl Into<OwnerId>) -> Result<u64, KeyError> {
        let (owner, now) = (owner.into(), self.now());
        self.may_rule(Some(&owner)).await?;
        // Where a key can be of one user's profile and let another one in, that one's stay.
        let writes = |family: &Family| {
            let is_theirs = family.key.owner().id() == &owner;
            if is_theirs { deletion(family, now) } else { Vec::new() }
        };
        self.change_all(KeyFilter::all().owner(&owner), Some(&owner), now, writes).await
    }

    /// Deletes the keys that expired before this moment, which is not in the future. Says how many. A
    /// key that [replaced](Self::rotate) one which is still in its grace is left until that is over.
    /// It goes on in batches, as [`revoke_all`](Self::revoke_all) does.
    ///
    /// # Errors
    /// `is_invalid` when the moment is in the future; `is_forbidden` on behalf of anybody but a
    /// superuser; `is_outcome_unknown` when the store failed on the way.
    pub async fn delete_expired(&self, before: DateTime<Utc>) -> Result<u64, KeyError> {
        // As coarse as `now`, which would otherwise be earlier than a moment just read.
        let (before, now) = (to_micros(before), self.now());
        if before > now {
            return Err(KeyError::invalid(
                "only keys that have expired are deleted: give a moment that is not in the future",
            ));
        }
        self.may_rule(None).await?;
        let filter = KeyFilter::all().expires_before(before);
        self.change_all(filter, None, now, |family| deletion(family, now)).await
    }

    /// Deactivates the active keys that were not used at this moment or later; one that was never
    /// used counts from when it was made, and one that [replaced](Self::rotate) a key which is used
    /// in its grace counts as used. Says how many. It goes on in batches, as
    /// [`revoke_all`](Self::revoke_all) does.
    ///
    /// # Errors
    /// `is_invalid` when the moment is so close that a key in use would be among them, as last uses
    /// are kept only so [closely](crate::AuthenticatorBuilder::last_used); `is_unsupported` when this
    /// authenticator or the store keeps no last uses, or no active flag; `is_forbidden` on behalf of
    /// anybody but a superuser; `is_outcome_unknown` when the store failed on the way.
    pub async fn deactivate_unused(&self, since: DateTime<Utc>) -> Result<u64, KeyError> {
        let (since, now) = (to_micros(since), self.now());
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
                "last uses are kept to {window:?}: give a moment at least twice as long ago"
            )));
        }
        self.may_rule(None).await?;
        let filter = KeyFilter::all().active(true).unused_since(since);
        self.change_all(filter, None, now, |family| deactivation(family, now)).await
    }

    /// Changes all keys that pass the filter, so that none does any more, if the caller is a superuser
    /// or `or`; says how many rows were changed.
    async fn change_all(
        &self,
        filter: KeyFilter,
        or: Option<&OwnerId>,
        now: DateTime<Utc>,
        mut writes: impl FnMut(&Family) -> Vec<KeyWrite> + Send,
    ) -> Result<u64, KeyError> {
        let mut changed = 0;
        let mut is_whole = false;
        // Once more after a pass that changed any, or had something unsettled beside it: keys that others
        // made or changed behind its back, and what was lost meanwhile. Whoever makes keys faster than
        // they are changed is not run after for ever.
        for _ in 0..MAX_PASSES {
            // A key that a lost change would make active is not in any list yet.
            let settled = self.settled(&self.unsettled_of(&filter)).await;
            let Passed { changed: more, has_left } =
                self.pass(&filter, or, now, &mut writes).await?;
            changed += more;
            is_whole = settled.is_ok() && !has_left && self.unsettled_of(&filter).is_empty();
            // Of one owner's keys all must be changed; of the others as many as can be will do.
            if more == 0 && (is_whole || settled.is_err() || filter.owner.is_none()) {
                break;
            }
        }
        let is_done = is_whole || filter.owner.is_none();
        is_done.then_some(changed).ok_or_else(KeyError::unsettled)
    }

    /// What was lost and is not settled, about keys that the filter may be about.
    fn unsettled_of(&self, filter: &KeyFilter) -> Vec<Subject> {
        self.inner.settler.unsettled_of(filter.owner.as_ref())
    }

    /// Goes once through the keys that pass the filter, from the oldest to the one that is the newest
    /// now.
    async fn pass(
        &self,
        filter: &KeyFilter,
        or: Option<&OwnerId>,
        now: DateTime<Utc>,
        writes: &mut (impl FnMut(&Family) -> Vec<KeyWrite> + Send),
    ) -> Result<Passed, KeyError> {
        let repository = self.repository()?;
        let newest = KeyQuery::first(1).filter(filter.clone()).order(KeyOrder::NewestFirst);
        let newest = repository.list(newest).await.map_err(KeyError::reading)?;
        let Some(end) = newest.first().map(|newest| Cursor::behind(newest.key())) else {
            return Ok(Passed::default());
        };
        let (mut passed, mut after) = (Passed::default(), None);
        while after < Some(end) {
            let query = KeyQuery::first(BATCH).filter(filter.clone()).after(after);
            let batch = repository.list(query).await.map_err(KeyError::reading)?;
            let Some(last) = batch.last() else { break };
            after = Some(Cursor::behind(last.key()));
            let is_unsettled = |id: &KeyId| self.inner.settler.is_unsettled(&[Subject::Key(*id)]);
            let ids = batch.iter().map(Record::id).filter(|id| !is_unsettled(id));
            let ids: Vec<KeyId> = ids.collect();
            passed.has_left |= ids.len() < batch.len();
            if ids.is_empty() {
                continue;
            }
            let outcome = self.change_keys(&ids, |family, judgement| {
                // Both are asked again inside the transaction, where it counts.
                let may = judgement.lets_rule(family.caller.as_ref(), or);
                let passes = filter.admits_record(&family.key)
                    && (or.is_some() || ends_with_its_predecessor(filter, family, now));
                let is_left = passes && self.unsettled_in(family).is_some();
                passed.has_left |= is_left;
                may.then(|| if passes && !is_left { writes(family) } else { Vec::new() })
            });
            match outcome.await {
                Ok(written) => passed.changed += written.len() as u64,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(passed)
    }
}

/// How a pass through the keys went.
#[derive(Default)]
struct Passed {
    /// How many rows it wrote.
    changed: u64,
    /// Whether it left a key as it was, of which something is not settled.
    has_left: bool,
}

/// What ends a key ends the one that it replaced: they go together, or stay. One owner's all go.
fn ends_with_its_predecessor(filter: &KeyFilter, family: &Family, now: DateTime<Utc>) -> bool {
    in_grace(family, now).is_none_or(|older| filter.admits(older))
}
