//! How a change that may or may not have been made is made good: as a write that may be made again.
//!
//! Looking would settle nothing, as a lost commit may still land after the look. So the write is made
//! again, on whatever stands there: a definite answer to it tells what is stored from then on, as a
//! store makes no change on rows that were written since it read them.

use std::mem;

use super::goal::Goal;
use crate::{
    state::store::{DynRepository, Family, StoreError},
    value::{
        key::KeyId,
        owner::{Owner, OwnerId},
        subject::Subject,
    },
};

/// What is left to be done about a lost change.
#[derive(Clone, Debug)]
pub(in crate::usecase) enum Repair {
    /// About keys.
    Keys(Vec<Goal>),
    /// About an owner.
    Owner {
        id: OwnerId,
        /// The row as the lost transaction read it.
        before: Option<Owner>,
        /// The row as it wrote it.
        after: Owner,
        /// Whether it is known here that the row was changed since.
        is_overtaken: bool,
    },
}

impl Repair {
    /// The rows of these subjects were changed since it was lost.
    pub(super) fn overtaken(&mut self, by: &[Subject]) {
        match self {
            Self::Keys(goals) => *goals = rest(mem::take(goals), by),
            Self::Owner { id, is_overtaken, .. } => {
                *is_overtaken |= by.contains(&Subject::Owner(id.clone()));
            }
        }
    }

    /// How many rows it is about.
    pub(in crate::usecase) fn rows(&self) -> usize {
        match self {
            Self::Keys(goals) => goals.len(),
            Self::Owner { .. } => 1,
        }
    }

    /// Whether it is about a key of this owner, or about the owner.
    pub(super) fn is_of(&self, owner: &OwnerId) -> bool {
        match self {
            Self::Keys(goals) => goals.iter().any(|goal| goal.owner() == owner),
            Self::Owner { id, .. } => id == owner,
        }
    }

    /// Makes the change good. An error means that it is to be tried again. May be dropped, and begun
    /// again, at any time.
    pub(super) async fn make(&self, repository: &dyn DynRepository) -> Result<(), StoreError> {
        match self {
            Self::Keys(goals) => repair_keys(repository, goals).await,
            Self::Owner { id, before, after, is_overtaken } => {
                let again =
                    |now: Option<&Owner>| owner_again(now, before.as_ref(), after, *is_overtaken);
                repair_owner(repository, id, again).await
            }
        }
    }
}

async fn repair_keys(repository: &dyn DynRepository, goals: &[Goal]) -> Result<(), StoreError> {
    let has_flag = repository.capabilities().activation;
    for (key, owner) in goals.iter().filter_map(|goal| goal.claim(has_flag)) {
        let claimed = repository.insert(key, owner.clone(), None, &mut |_, _| true).await;
        // It is there already, or can't ever be: what is to be changed below will tell.
        let is_settled = |error: &StoreError| error.is_definite() && !error.is_not_applied();
        if let Err(error) = claimed
            && !is_settled(&error)
        {
            return Err(error);
        }
    }
    let ids: Vec<KeyId> = goals.iter().map(Goal::id).collect();
    let mut plan = |family: &Family| {
        let goal = goals.iter().find(|goal| goal.id() == family.key.id());
        Some(goal.map(|goal| goal.writes(family, has_flag)).unwrap_or_default())
    };
    match repository.change(&ids, None, &mut plan).await {
        // Nothing of it is there, and what may still land would find a key deleted since.
        Err(error) if error.is_not_found() => Ok(()),
        // A key that was to return is there again.
        Err(error) if error.is_duplicate() && goals.iter().any(Goal::returns) => {
            let by: Vec<Subject> = goals.iter().flat_map(Goal::subjects).collect();
            Box::pin(repair_keys(repository, &rest(goals.to_vec(), &by))).await
        }
        outcome => outcome.map(drop),
    }
}

/// What is left of the goals once the rows of these subjects were changed.
fn rest(goals: Vec<Goal>, by: &[Subject]) -> Vec<Goal> {
    goals.into_iter().filter_map(|goal| goal.overtaken(by)).collect()
}

async fn repair_owner(
    repository: &dyn DynRepository,
    id: &OwnerId,
    again: impl Fn(Option<&Owner>) -> Option<Owner> + Send + Sync,
) -> Result<(), StoreError> {
    let mut is_moot = false;
    let mut edit = |now: Option<&Owner>, _: Option<&Owner>| {
        let after = again(now);
        is_moot = after.is_none();
        after
    };
    match repository.change_owner(id, None, &mut edit).await {
        Err(error) if is_moot && error.is_not_applied() => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// What an owner is to become; `None` if they were deleted since, as they then stay so.
///
/// An owner's row does not tell whether it was changed and changed back since: one that stands as the
/// lost transaction read it may be what another process has put in order meanwhile. So what the change
/// gave is given again only where it has landed, and what it took away is taken in any case.
fn owner_again(
    now: Option<&Owner>,
    before: Option<&Owner>,
    after: &Owner,
    is_overtaken: bool,
) -> Option<Owner> {
    let is_new = now.is_none() && before.is_none();
    if !is_overtaken && (is_new || now == Some(after)) {
        return Some(after.clone());
    }
    let now = now?.clone();
    Some(match before {
        Some(before) => now.narrowed_by(before, after),
        None => now,
    })
}

#[cfg(test)]
mod tests;
