//! What a manager's change ought to do, on what is stored when it is made.

use chrono::TimeDelta;
use tower_token_auth::{KeyId, TokenDigest};

use super::{
    repairs::Subject,
    rows::{Edit, Moment, OwnerRow, Row, Rows},
};

/// An order of which numbers have become keys, tokens and owners.
#[derive(Clone, Debug)]
pub enum Order {
    Create { owner: u8, expires: Option<Moment>, scopes: u8, active: bool },
    Import { digest: TokenDigest, owner: u8, expires: Option<Moment>, active: bool },
    Activate(KeyId),
    Deactivate(KeyId),
    Toggle(KeyId),
    Update { key: KeyId, expires: Option<Option<Moment>>, scopes: Option<u8> },
    Rotate { key: KeyId, grace: TimeDelta, expires: Option<Moment> },
    Delete(KeyId),
    Accessed(KeyId),
    RevokeToken(TokenDigest),
    RevokeAll(u8),
    DeleteExpired,
    SetOwner { owner: u8, active: Option<bool>, staff: Option<bool> },
}

/// What nobody can foretell of a key that is made.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    pub id: KeyId,
    pub digest: TokenDigest,
}

impl Fresh {
    /// For an order that makes no key, or whose key nobody asks about.
    pub fn nobody() -> Self {
        Self { id: KeyId::random(), digest: TokenDigest::of(Default::default(), "") }
    }
}

/// A change that ought to be made, and what is answered then.
#[derive(Clone, Debug)]
pub struct Decision {
    pub edits: Vec<Edit>,
    pub answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Key(Row),
    Imported(Row, bool),
    Count(u64),
    Owner(OwnerRow),
    Noted(bool),
}

/// Why a change is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Rule,
    NotFound,
    Duplicate,
    Invalid,
    Unavailable,
    /// The call ended without a definite answer.
    Unknown,
}

impl Order {
    /// Whether what was asked makes no sense, whatever is stored.
    pub fn is_invalid(&self, now: Moment) -> bool {
        match self {
            Self::Create { expires, .. } | Self::Rotate { expires, .. } => {
                expires.is_some_and(|at| at <= now)
            }
            Self::Update { expires: Some(Some(at)), .. } => *at <= now,
            _ => false,
        }
    }

    /// Whether it is about many keys, some at a time.
    pub fn is_of_many(&self) -> bool {
        matches!(self, Self::RevokeAll(_) | Self::DeleteExpired)
    }

    /// What it is about, as far as it says so itself: nothing else may be unsettled of that.
    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::Activate(id) | Self::Deactivate(id) | Self::Toggle(id) | Self::Delete(id) => {
                vec![Subject::Key(*id)]
            }
            Self::Update { key, .. } | Self::Rotate { key, .. } => vec![Subject::Key(*key)],
            Self::Import { digest, .. } | Self::RevokeToken(digest) => {
                vec![Subject::Digest(*digest)]
            }
            Self::SetOwner { owner, .. } => vec![Subject::Owner(*owner)],
            Self::Create { .. } | Self::Accessed(_) | Self::RevokeAll(_) | Self::DeleteExpired => {
                Vec::new()
            }
        }
    }

    /// What ought to become of it. Of many keys it is asked about some at a time, `among` them.
    pub fn decide(
        &self,
        rows: &Rows,
        now: Moment,
        fresh: Fresh,
        among: Option<&[KeyId]>,
    ) -> Result<Decision, Refusal> {
        if self.is_invalid(now) {
            return Err(Refusal::Invalid);
        }
        let find = |id: &KeyId| rows.keys.get(id).cloned().ok_or(Refusal::NotFound);
        let answers = |edits: Vec<Edit>, row: Row| Ok(Decision { edits, answer: Answer::Key(row) });
        let first = |edits: Vec<Edit>| match edits.first() {
            Some(Edit::Set(row)) => answers(edits.clone(), row.clone()),
            _ => unreachable!("the key itself is written first"),
        };
        match self {
            Self::Create { owner, expires, scopes, active } => {
                let row = Row {
                    scopes: *scopes,
                    expires: *expires,
                    active: *active,
                    ..bare(fresh, *owner, now)
                };
                add(rows, row, true)
            }
            Self::Import { digest, owner, expires, active } => match rows.with_digest(digest) {
                Some(row) if row.owner == *owner => {
                    let answer = Answer::Imported(row.clone(), false);
                    Ok(Decision { edits: Vec::new(), answer })
                }
                Some(_) => Err(Refusal::Duplicate),
                None => {
                    let row =
                        Row { expires: *expires, active: *active, ..bare(fresh, *owner, now) };
                    let added = add(rows, row, false)?;
                    let Answer::Key(row) = added.answer else { unreachable!() };
                    Ok(Decision { answer: Answer::Imported(row, true), ..added })
                }
            },
            Self::Activate(id) => first(switch(rows, find(id)?, true, now)?),
            Self::Deactivate(id) => first(switch(rows, find(id)?, false, now)?),
            Self::Toggle(id) => {
                let row = find(id)?;
                let becomes = !row.active;
                first(switch(rows, row, becomes, now)?)
            }
            Self::Update { key, expires, scopes } => {
                let before = find(key)?;
                let mut after = Row { updated: before.written(now), ..before.clone() };
                after.expires = expires.unwrap_or(after.expires);
                after.scopes = scopes.unwrap_or(after.scopes);
                let taken = before.scopes & !after.scopes;
                let older = rows.in_grace(&before, now).filter(|_| taken != 0);
                let older = older.map(|older| Row {
                    scopes: older.scopes & !taken,
                    updated: older.written(now),
                    ..older.clone()
                });
                first([Some(after), older].into_iter().flatten().map(Edit::Set).collect())
            }
            Self::Rotate { key, grace, expires } => {
                let old = find(key)?;
                if !old.is_alive(now) || rows.successor_of(old.id).is_some() {
                    return Err(Refusal::Rule);
                }
                may_issue(rows, old.owner)?;
                let successor = Row {
                    scopes: old.scopes,
                    expires: expires.or(old.expires),
                    predecessor: Some(old.id),
                    ..bare(fresh, old.owner, now)
                };
                let end = now + *grace;
                let ended = Row {
                    active: !grace.is_zero(),
                    expires: Some(old.expires.map_or(end, |own| own.min(end))),
                    updated: old.written(now),
                    ..old.clone()
                };
                let mut edits = vec![Edit::Set(ended), Edit::Add(successor.clone())];
                edits.extend(end_of_grace(rows, &old, now));
                answers(edits, successor)
            }
            Self::Delete(id) => {
                let row = find(id)?;
                answers(deletion(rows, &row, now), row)
            }
            Self::Accessed(id) => {
                let row = find(id)?;
                let is_due = row.used.is_none_or(|used| used < now - TimeDelta::minutes(5));
                let used = Edit::Set(Row { used: Some(now), ..row });
                let edits = if is_due { vec![used] } else { Vec::new() };
                Ok(Decision { edits, answer: Answer::Noted(is_due) })
            }
            Self::RevokeToken(digest) => {
                let row = rows.with_digest(digest).ok_or(Refusal::NotFound)?;
                first(switch(rows, row.clone(), false, now)?)
            }
            Self::RevokeAll(owner) => {
                rows.owners.get(owner).ok_or(Refusal::NotFound)?;
                let passes = |row: &Row| row.owner == *owner && row.active;
                Ok(all(rows, among, now, passes, |rows, row| off(rows, row, now)))
            }
            Self::DeleteExpired => {
                let passes = |row: &Row| row.is_expired(now);
                Ok(all(rows, among, now, passes, |rows, row| deletion(rows, row, now)))
            }
            Self::SetOwner { owner, active, staff } => {
                let row = rows.owners.get(owner).ok_or(Refusal::NotFound)?;
                let row = OwnerRow {
                    active: active.unwrap_or(row.active),
                    staff: staff.unwrap_or(row.staff),
                };
                Ok(Decision { edits: vec![Edit::Owner(*owner, row)], answer: Answer::Owner(row) })
            }
        }
    }
}

fn bare(fresh: Fresh, owner: u8, now: Moment) -> Row {
    Row {
        id: fresh.id,
        digest: fresh.digest,
        owner,
        active: true,
        scopes: 0,
        created: now,
        updated: now,
        expires: None,
        used: None,
        predecessor: None,
    }
}

fn add(rows: &Rows, row: Row, is_judged: bool) -> Result<Decision, Refusal> {
    let owner = rows.owners.get(&row.owner).copied();
    if is_judged && !owner.unwrap_or(OwnerRow::NEW).staff {
        return Err(Refusal::Rule);
    }
    let mut edits = vec![Edit::Add(row.clone())];
    if owner.is_none() {
        edits.push(Edit::Owner(row.owner, OwnerRow::NEW));
    }
    Ok(Decision { edits, answer: Answer::Key(row) })
}

/// Only staff may be given working keys.
fn may_issue(rows: &Rows, owner: u8) -> Result<(), Refusal> {
    if rows.owners[&owner].staff { Ok(()) } else { Err(Refusal::Rule) }
}

fn switch(rows: &Rows, row: Row, becomes: bool, now: Moment) -> Result<Vec<Edit>, Refusal> {
    if !becomes {
        return Ok(off(rows, &row, now));
    }
    may_issue(rows, row.owner)?;
    Ok(vec![Edit::Set(Row { active: true, updated: row.written(now), ..row })])
}

fn off(rows: &Rows, row: &Row, now: Moment) -> Vec<Edit> {
    let own = Edit::Set(Row { active: false, updated: row.written(now), ..row.clone() });
    [own].into_iter().chain(end_of_grace(rows, row, now)).collect()
}

fn end_of_grace(rows: &Rows, row: &Row, now: Moment) -> Option<Edit> {
    let older = rows.in_grace(row, now)?;
    Some(Edit::Set(Row { active: false, updated: older.written(now), ..older.clone() }))
}

fn deletion(rows: &Rows, row: &Row, now: Moment) -> Vec<Edit> {
    let older = rows.in_grace(row, now).map(|older| Edit::Take(older.clone()));
    [Edit::Take(row.clone())].into_iter().chain(older).collect()
}

/// One after the other, each on what those before it left.
fn all(
    rows: &Rows,
    among: Option<&[KeyId]>,
    now: Moment,
    passes: impl Fn(&Row) -> bool,
    edit: impl Fn(&Rows, &Row) -> Vec<Edit>,
) -> Decision {
    let (mut rows, mut edits) = (rows.clone(), Vec::new());
    let listed = || rows.in_order().iter().map(|row| row.id).collect();
    let ids: Vec<KeyId> = among.map_or_else(listed, Into::into);
    for id in ids {
        let Some(row) = rows.keys.get(&id).filter(|row| passes(row)) else { continue };
        if rows.in_grace(row, now).is_some_and(|older| !passes(older)) {
            // What ends it would end that one as well.
            continue;
        }
        let these = edit(&rows, row);
        rows.apply(&these);
        edits.extend(these);
    }
    let answer = Answer::Count(edits.len() as u64);
    Decision { edits, answer }
}
