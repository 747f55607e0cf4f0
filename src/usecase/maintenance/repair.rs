//! How a change that may or may not have been made is made good: as a write that may be made again.
//!
//! Looking would settle nothing, as a lost commit may still land after the look. So the write is made
//! again, on whatever stands there: a definite answer to it tells what is stored from then on.

use std::mem;

use crate::{
    state::store::{DynRepository, Family, KeyWrite, StoreError},
    value::{
        key::{ApiKey, KeyId},
        owner::{Owner, OwnerId},
        subject::Subject,
    },
};

/// What is left to be done about a lost change.
#[derive(Clone, Debug)]
pub(in crate::usecase) enum Repair {
    /// About keys.
    Keys(Vec<Goal>),
    /// About an owner: what the lost transaction read, and what it wrote.
    Owner { id: OwnerId, before: Option<Owner>, after: Owner },
}

/// What is to become of one key.
#[derive(Clone, Debug)]
pub(in crate::usecase) enum Goal {
    /// It was added, and nobody was told its token: it becomes inactive, and nobody's successor.
    Void { key: ApiKey, owner: Owner },
    /// It was added by its digest, and its client has the token: it is added again.
    Add { key: ApiKey, owner: Owner },
    /// It was changed. The change is made again; on a row that was changed since, only what it took
    /// away.
    Again { before: ApiKey, after: ApiKey },
    /// It was replaced by a key whose token nobody was told: it becomes what it was, if it still is
    /// as the rotation left it.
    Restore { before: ApiKey, after: ApiKey },
    /// It was deleted.
    Delete(KeyId),
}

impl Goal {
    /// The key it is about.
    pub(in crate::usecase) fn id(&self) -> KeyId {
        match self {
            Self::Void { key, .. } | Self::Add { key, .. } => key.id(),
            Self::Again { after, .. } | Self::Restore { after, .. } => after.id(),
            Self::Delete(id) => *id,
        }
    }

    /// What was read about these is outdated by it: of a new key also that there was none.
    pub(in crate::usecase) fn subjects(&self) -> impl Iterator<Item = Subject> {
        let digest = match self {
            Self::Void { key, .. } | Self::Add { key, .. } => Some(*key.digest()),
            Self::Again { .. } | Self::Restore { .. } | Self::Delete(_) => None,
        };
        digest.map(Subject::Digest).into_iter().chain([Subject::Key(self.id())])
    }
}

impl Repair {
    /// Makes the change good. An error means that it is to be tried again. May be dropped, and begun
    /// again, at any time.
    pub(super) async fn make(&self, repository: &dyn DynRepository) -> Result<(), StoreError> {
        match self {
            Self::Keys(goals) => repair_keys(repository, goals).await,
            Self::Owner { id, before, after } => {
                repair_owner(repository, id, before.as_ref(), after).await
            }
        }
    }
}

async fn repair_keys(repository: &dyn DynRepository, goals: &[Goal]) -> Result<(), StoreError> {
    let has_flag = repository.capabilities().activation;
    // A lost insert that lands later finds its id and digest taken by these.
    for goal in goals {
        let (key, owner) = match goal {
            Goal::Void { key, owner } => (voided(key.clone(), has_flag), owner),
            Goal::Add { key, owner } => (key.clone(), owner),
            Goal::Again { .. } | Goal::Restore { .. } | Goal::Delete(_) => continue,
        };
        match repository.insert(key, owner.clone(), None, &mut |_, _| true).await {
            Err(error) if !error.is_duplicate() => return Err(error),
            _ => {}
        }
    }
    let ids: Vec<KeyId> = goals.iter().map(Goal::id).collect();
    let mut plan = |family: &Family| {
        let goal = goals.iter().find(|goal| goal.id() == family.key.id());
        Some(goal.and_then(|goal| write(goal, family.key.key(), has_flag)).into_iter().collect())
    };
    match repository.change(&ids, None, &mut plan).await {
        // Nothing of it is there, and what may still land would find a key deleted since.
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// What is to be written over the row that stands there.
fn write(goal: &Goal, now: &ApiKey, has_flag: bool) -> Option<KeyWrite> {
    match goal {
        Goal::Void { .. } if !has_flag => Some(KeyWrite::Delete(now.id())),
        Goal::Void { .. } => Some(KeyWrite::Update(voided(now.clone(), has_flag))),
        Goal::Add { .. } => None,
        Goal::Again { before, after } if same_row(now, before) || same_row(now, after) => {
            Some(KeyWrite::Update(after.clone()))
        }
        Goal::Again { before, after } => {
            Some(KeyWrite::Update(now.clone().narrowed_by(before, after)))
        }
        Goal::Restore { before, after } => {
            same_row(now, after).then(|| KeyWrite::Update(before.clone()))
        }
        Goal::Delete(id) => Some(KeyWrite::Delete(*id)),
    }
}

/// Without a predecessor, so that the predecessor may be rotated again.
fn voided(key: ApiKey, has_flag: bool) -> ApiKey {
    key.with_active(!has_flag).with_predecessor(None)
}

/// Whether both are one row in one state; uses are recorded meanwhile.
fn same_row(one: &ApiKey, other: &ApiKey) -> bool {
    one.clone().with_last_used_at(None) == other.clone().with_last_used_at(None)
}

async fn repair_owner(
    repository: &dyn DynRepository,
    id: &OwnerId,
    before: Option<&Owner>,
    after: &Owner,
) -> Result<(), StoreError> {
    let mut is_moot = false;
    let mut edit = |now: Option<&Owner>, _: Option<&Owner>| {
        is_moot = false;
        match now {
            now if now == before || now == Some(after) => Some(after.clone()),
            Some(now) => {
                Some(before.map_or(now.clone(), |before| now.clone().narrowed_by(before, after)))
            }
            None => {
                is_moot = true;
                None
            }
        }
    };
    let outcome = repository.change_owner(id, None, &mut edit).await;
    // An owner who was deleted since stays so.
    if mem::take(&mut is_moot) { Ok(()) } else { outcome.map(drop) }
}

#[cfg(test)]
mod tests;
