//! What is to become of one key of which a change was lost.

use crate::{
    state::store::{Family, KeyWrite},
    value::{
        key::{ApiKey, KeyId},
        owner::{Owner, OwnerId},
        subject::Subject,
    },
};

/// What is to become of one key.
///
/// What the lost transaction gave is given again only on the row as it read or wrote it: a row that
/// was changed since stands. What it took away is taken from any row, whoever changed it since: of two
/// changes that nobody can put in order, the one that denies is made good.
///
/// A row that needs no change is written all the same, as it stands: then a lost transaction that is
/// still under way has been overtaken, and can't land any more.
#[derive(Clone, Debug)]
pub(in crate::usecase) enum Goal {
    /// It was added, and nobody was told its token: it becomes inactive (without an active flag it is
    /// deleted), and nobody's successor.
    Void { key: ApiKey, owner: Owner },
    /// It was added by its digest, and its client has the token: it stays if it is there, and is not
    /// added again if it is not, as another process may have deleted it since.
    Stay { key: ApiKey, owner: Owner },
    /// It was changed: the change is made again.
    Again(Change),
    /// It was replaced by a key whose token nobody was told: it becomes what it was, if it still is
    /// as the rotation left it.
    Restore { before: ApiKey, after: ApiKey },
    /// The same where a rotation deletes, for want of a flag and an expiry to set: the two change
    /// places again, if the new key still is as the rotation left it.
    Return { key: ApiKey, owner: Owner, successor: ApiKey },
    /// It was deleted: it is deleted again.
    Delete(ApiKey),
}

/// A change of one row.
#[derive(Clone, Debug)]
pub(in crate::usecase) struct Change {
    pub(in crate::usecase) before: ApiKey,
    pub(in crate::usecase) after: ApiKey,
    /// Its owner, by whose row the change was judged.
    pub(in crate::usecase) owner: Owner,
    /// Whether it is known here that the row was changed since, even if it looks the same.
    pub(in crate::usecase) is_overtaken: bool,
}

impl Goal {
    /// The row that tells what is to be done.
    pub(in crate::usecase) fn id(&self) -> KeyId {
        self.row().id()
    }

    pub(super) fn owner(&self) -> &OwnerId {
        self.row().owner_id()
    }

    fn row(&self) -> &ApiKey {
        match self {
            Self::Void { key, .. } | Self::Stay { key, .. } | Self::Delete(key) => key,
            Self::Again(Change { after, .. }) | Self::Restore { after, .. } => after,
            Self::Return { successor, .. } => successor,
        }
    }

    /// What was read about these is outdated by it: of a key that comes or goes also that there was
    /// none.
    pub(in crate::usecase) fn subjects(&self) -> Vec<Subject> {
        let both = |key: &ApiKey| [Subject::Digest(*key.digest()), Subject::Key(key.id())];
        match self {
            Self::Again(_) | Self::Restore { .. } => vec![Subject::Key(self.id())],
            Self::Return { key, successor, .. } => [both(key), both(successor)].concat(),
            Self::Void { key, .. } | Self::Stay { key, .. } | Self::Delete(key) => both(key).into(),
        }
    }

    /// Whether it brings a deleted key back.
    pub(super) fn returns(&self) -> bool {
        matches!(self, Self::Return { .. })
    }

    /// What is left of it once the rows of these subjects were changed; `None` when nothing is.
    pub(super) fn overtaken(self, by: &[Subject]) -> Option<Self> {
        if !self.subjects().iter().any(|subject| by.contains(subject)) {
            return Some(self);
        }
        match self {
            Self::Again(change) => Some(Self::Again(Change { is_overtaken: true, ..change })),
            Self::Return { owner, successor, .. } => Some(Self::Void { key: successor, owner }),
            Self::Void { .. } | Self::Stay { .. } | Self::Delete(_) => Some(self),
            Self::Restore { .. } => None,
        }
    }

    /// A row to be added first: it takes the id and the digest, so that a lost transaction which adds
    /// them has either landed by then or never will.
    pub(super) fn claim(&self, has_flag: bool) -> Option<(ApiKey, &Owner)> {
        match self {
            Self::Void { key, owner } | Self::Return { successor: key, owner, .. } => {
                Some((void(key.clone(), has_flag), owner))
            }
            Self::Stay { key, owner } => Some((claim(key.clone(), has_flag), owner)),
            Self::Again(_) | Self::Restore { .. } | Self::Delete(_) => None,
        }
    }

    /// What is to be written, seeing the row that stands there.
    pub(super) fn writes(&self, family: &Family, has_flag: bool) -> Vec<KeyWrite> {
        let now = family.key.key();
        match self {
            Self::Void { .. } if has_flag => vec![KeyWrite::Update(void(now.clone(), has_flag))],
            Self::Return { key, successor, .. } if is_same(now, successor) => {
                vec![KeyWrite::Delete(now.id()), KeyWrite::Insert(key.clone())]
            }
            Self::Void { .. } | Self::Return { .. } | Self::Delete(_) => {
                vec![KeyWrite::Delete(now.id())]
            }
            Self::Again(change) => {
                vec![KeyWrite::Update(change.again(now, family.key.owner()))]
            }
            Self::Restore { before, after } => {
                let undone = is_as_written(now, before, after);
                vec![KeyWrite::Update(if undone { before.clone() } else { now.clone() })]
            }
            Self::Stay { key, .. } if is_claim_of(key, now, has_flag) => {
                vec![KeyWrite::Delete(now.id())]
            }
            Self::Stay { .. } => Vec::new(),
        }
    }
}

impl Change {
    fn again(&self, now: &ApiKey, owner: &Owner) -> ApiKey {
        let Self { before, after, .. } = self;
        let is_as_read = is_same(now, before) && *owner == self.owner;
        if !self.is_overtaken && (is_as_read || is_as_written(now, before, after)) {
            return after.clone();
        }
        let mut narrowed = now.clone().narrowed_by(before, after);
        if self.denies_again() {
            narrowed = narrowed.with_active(false);
        }
        if narrowed == *now {
            return narrowed;
        }
        let updated_at = now.updated_at().max(after.updated_at());
        narrowed.with_updated_at(updated_at)
    }

    /// Whether it did nothing but deactivate a key that was inactive: whoever makes that active, be it
    /// by what was lost before, must not leave it so.
    fn denies_again(&self) -> bool {
        let Self { before, after, .. } = self;
        !after.is_active() && is_same(before, &after.clone().with_updated_at(before.updated_at()))
    }
}

/// A key that takes another one's place until it is deleted: in a state that nobody gives a key which is
/// meant to be used, so that the two are told apart.
fn claim(key: ApiKey, has_flag: bool) -> ApiKey {
    let expired = key.created_at();
    void(key, has_flag).with_expires_at(Some(expired))
}

/// Whether a row is one that only keeps another one's place: left behind by a process that ended before
/// it took it away, or about to be taken away by one that goes on.
pub(in crate::usecase) fn is_claim(row: &ApiKey, has_flag: bool) -> bool {
    is_same(row, &claim(row.clone(), has_flag))
}

/// Whether a row only keeps this key's place. A store may have put it into an account by itself.
fn is_claim_of(key: &ApiKey, row: &ApiKey, has_flag: bool) -> bool {
    let account = key.account().or(row.account()).cloned();
    is_same(row, &claim(key.clone().with_account(account), has_flag))
}

/// A key that nobody can use. Nobody's successor either, so that the one it was made for may be
/// rotated again. Without a flag it only stands there until it is deleted, and has expired.
fn void(key: ApiKey, has_flag: bool) -> ApiKey {
    let key = key.with_predecessor(None);
    if has_flag {
        return key.with_active(false);
    }
    let expired = key.created_at();
    key.with_expires_at(Some(expired))
}

/// Whether the row is as a change left it. A schema that keeps no `updated_at` shows the old one.
fn is_as_written(now: &ApiKey, before: &ApiKey, after: &ApiKey) -> bool {
    is_same(now, after) || is_same(now, &after.clone().with_updated_at(before.updated_at()))
}

/// Whether both are one row in one state; uses are recorded meanwhile.
fn is_same(one: &ApiKey, other: &ApiKey) -> bool {
    one.clone().with_last_used_at(None) == other.clone().with_last_used_at(None)
}
