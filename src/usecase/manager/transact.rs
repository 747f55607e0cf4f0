//! Changes keys in one transaction, once what was lost about them before is settled.

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
};

use super::{
    KeyError, KeyManager, judgement::Judgement, ledger::Ledger, settle::settle, tell::Deeds,
};
use crate::{
    state::store::{Family, KeyWrite},
    value::{
        key::{KeyId, Record},
        subject::Subject,
    },
};

/// How often a change is begun anew as it came upon a key of which an earlier one is not settled.
pub(super) const MAX_ROUNDS: usize = 3;
/// The least that every store tells apart.
const STEP: chrono::Duration = chrono::Duration::microseconds(1);

impl KeyManager {
    /// Changes one key as `decide` says, and answers with its row as it then stands.
    pub(super) async fn change_one(
        &self,
        id: KeyId,
        decide: impl FnMut(&Family, &mut Judgement<'_>) -> Option<Vec<KeyWrite>> + Send,
    ) -> Result<Record, KeyError> {
        let changed = self.change_keys(&[id], decide).await?;
        changed.into_iter().next().ok_or_else(KeyError::no_such_key)
    }

    /// Changes keys as `decide` says, all or none; answers with the rows that were written.
    pub(super) async fn change_keys(
        &self,
        ids: &[KeyId],
        mut decide: impl FnMut(&Family, &mut Judgement<'_>) -> Option<Vec<KeyWrite>> + Send,
    ) -> Result<Vec<Record>, KeyError> {
        let repository = self.repository()?;
        let mut about: Vec<Subject> = ids.iter().copied().map(Subject::Key).collect();
        for _ in 0..MAX_ROUNDS {
            // Each key with a relative, and one that is added.
            let places = match self.room(2 * ids.len() + 1, &about).await {
                Ok(places) => places,
                Err(error) => return Err(self.as_told_to_caller(ids, error).await),
            };
            let (ledger, mut judgement) = (Ledger::default(), self.judgement());
            // By key, as a store may run its transaction again.
            let mut deeds = BTreeMap::new();
            let mut unsettled = None;
            let mut plan = |family: &Family| {
                judgement.begin();
                ledger.begin(family.key.id());
                let writes = decide(family, &mut judgement)?;
                // Relatives are known only now.
                unsettled = self.unsettled_in(family).filter(|_| !writes.is_empty());
                if unsettled.is_some() {
                    return None;
                }
                let writes: Vec<_> = writes.into_iter().map(|w| moved_on(family, w)).collect();
                ledger.writes(family, &writes);
                deeds.insert(family.key.id(), Deeds::of(family, &writes));
                Some(writes)
            };
            let change = repository.change(ids, self.caller.as_ref(), &mut plan);
            match settle(&*self.inner, &ledger, places, change).await {
                Ok(written) => {
                    // Of what was decided in vain, as the transaction was begun anew, nothing is told.
                    let written_keys: BTreeSet<KeyId> = written.iter().map(Record::id).collect();
                    let deeds = deeds.values().flat_map(|deeds| deeds.events(&written_keys));
                    deeds.for_each(|event| self.inner.tell(event));
                    return Ok(written);
                }
                Err(error) => match unsettled {
                    Some(subject) if error.is_not_applied() => about.push(subject),
                    _ => return Err(judgement.explain(error, KeyError::changing_key)),
                },
            }
        }
        Err(KeyError::unsettled())
    }

    /// Why there is no room for a change of these keys, as the caller may hear it: nothing tells them
    /// that a key is there which they can't see.
    async fn as_told_to_caller(&self, ids: &[KeyId], error: KeyError) -> KeyError {
        for id in ids {
            if self.caller.is_some()
                && let Err(hidden) = self.get(*id).await
            {
                return hidden;
            }
        }
        error
    }

    /// A key of those that were decided on of which an earlier change waits to be settled: what was
    /// decided need not hold behind that.
    pub(super) fn unsettled_in(&self, family: &Family) -> Option<Subject> {
        let keys = [Some(family.key.key()), family.predecessor.as_ref()];
        let mut subjects = keys.into_iter().flatten().map(|key| Subject::Key(key.id()));
        subjects.find(|subject| self.inner.settler.is_unsettled(slice::from_ref(subject)))
    }
}

/// Whatever the clock says, a change moves its row's `updated_at` on: that is how others, and a repair
/// of an earlier change, see that the row was written since.
fn moved_on(family: &Family, write: KeyWrite) -> KeyWrite {
    let KeyWrite::Update(after) = write else { return write };
    let family = [Some(family.key.key()), family.predecessor.as_ref()];
    let before = family.into_iter().flatten().find(|key| key.id() == after.id());
    let earliest = before.and_then(|key| key.updated_at().checked_add_signed(STEP));
    let updated_at = earliest.map_or(after.updated_at(), |at| at.max(after.updated_at()));
    KeyWrite::Update(after.with_updated_at(updated_at))
}
