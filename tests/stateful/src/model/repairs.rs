//! How a change whose answer was lost ought to be made good.

use tower_token_auth::{KeyId, TokenDigest};

use super::{
    orders::Order,
    rows::{Edit, OwnerRow, Row, Rows},
};

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Key(KeyId),
    Digest(TokenDigest),
    Owner(u8),
}

/// A change whose answer was lost.
#[derive(Clone, Debug)]
pub struct Lost {
    pub subjects: Vec<Subject>,
    goals: Vec<Goal>,
}

/// What is to become of one row. What is *overtaken* was changed since by the same process: what the
/// lost change gave is not given again then, even if the row looks untouched.
#[derive(Clone, Debug)]
enum Goal {
    /// Nobody was told its token: it ends up inactive, and nobody's successor.
    Void(Row),
    /// Its client has the token: it stays if it has landed, and is not added again.
    Stay(Row),
    /// It is written again; over a row that has changed since, only what it took away.
    Again {
        before: Row,
        after: Row,
        owner: OwnerRow,
        is_overtaken: bool,
    },
    /// Its successor is void: it ends up as it was, if it is still as the rotation left it.
    Restore {
        before: Row,
        after: Row,
    },
    Take(Row),
    Owner {
        owner: u8,
        before: OwnerRow,
        after: OwnerRow,
        is_overtaken: bool,
    },
}

/// What edits outdate.
pub fn subjects_of(edits: &[Edit]) -> Vec<Subject> {
    let adds = edits.iter().any(|edit| matches!(edit, Edit::Add(_)));
    let subjects = |edit: &Edit| match edit {
        Edit::Add(row) | Edit::Take(row) => {
            vec![Subject::Digest(row.digest), Subject::Key(row.id)]
        }
        Edit::Set(row) => vec![Subject::Key(row.id)],
        // One that is made along with a key was nobody's before.
        Edit::Owner(..) if adds => Vec::new(),
        Edit::Owner(owner, _) => vec![Subject::Owner(*owner)],
    };
    edits.iter().flat_map(subjects).collect()
}

impl Lost {
    /// An order that was decided so, on these rows.
    pub fn new(order: &Order, edits: &[Edit], rows: &Rows) -> Self {
        let mut rows = rows.clone();
        let mut goals = Vec::new();
        for edit in edits {
            let is_first = goals.is_empty();
            match edit {
                Edit::Add(row) if matches!(order, Order::Import { .. }) => {
                    goals.push(Goal::Stay(row.clone()));
                }
                Edit::Add(row) => goals.push(Goal::Void(row.clone())),
                Edit::Set(after) => {
                    let (before, after) = (rows.keys[&after.id].clone(), after.clone());
                    goals.push(if is_first && matches!(order, Order::Rotate { .. }) {
                        Goal::Restore { before, after }
                    } else {
                        let owner = rows.owners[&before.owner];
                        Goal::Again { before, after, owner, is_overtaken: false }
                    });
                }
                Edit::Take(row) => goals.push(Goal::Take(row.clone())),
                Edit::Owner(owner, after) if matches!(order, Order::SetOwner { .. }) => {
                    let before = rows.owners[owner];
                    let (owner, after) = (*owner, *after);
                    goals.push(Goal::Owner { owner, before, after, is_overtaken: false });
                }
                // Made along with the key, now or when the key is made again.
                Edit::Owner(..) => {}
            }
            rows.apply(std::slice::from_ref(edit));
        }
        Self { subjects: subjects_of(edits), goals }
    }

    pub fn is_about(&self, subjects: &[Subject]) -> bool {
        self.subjects.iter().any(|subject| subjects.contains(subject))
    }

    /// These were changed since by the same process: what the lost change gave is not given again.
    pub fn overtaken(&mut self, by: &[Subject]) {
        let both = |row: &Row| vec![Subject::Digest(row.digest), Subject::Key(row.id)];
        self.goals.retain_mut(|goal| {
            let subjects = match goal {
                Goal::Void(row) | Goal::Stay(row) | Goal::Take(row) => both(row),
                Goal::Again { after, .. } | Goal::Restore { after, .. } => {
                    vec![Subject::Key(after.id)]
                }
                Goal::Owner { owner, .. } => vec![Subject::Owner(*owner)],
            };
            if !subjects.iter().any(|subject| by.contains(subject)) {
                return true;
            }
            match goal {
                Goal::Again { is_overtaken, .. } | Goal::Owner { is_overtaken, .. } => {
                    *is_overtaken = true;
                    true
                }
                Goal::Void(_) | Goal::Stay(_) | Goal::Take(_) => true,
                Goal::Restore { .. } => false,
            }
        });
    }

    /// The keys it is about, in the order in which they were decided on.
    pub fn ids(&self) -> Vec<KeyId> {
        let id = |goal: &Goal| match goal {
            Goal::Void(row) | Goal::Stay(row) => Some(row.id),
            Goal::Again { after, .. } | Goal::Restore { after, .. } => Some(after.id),
            Goal::Take(row) => Some(row.id),
            Goal::Owner { .. } => None,
        };
        self.goals.iter().filter_map(id).collect()
    }

    /// The key that ought to be added under this id, with its owner; nothing if something stands there. `None` if it has no such key.
    pub fn added_again(&self, id: KeyId, rows: &Rows) -> Option<Vec<Edit>> {
        let row = self.goals.iter().find_map(|goal| match goal {
            Goal::Void(row) if row.id == id => Some(voided(row)),
            Goal::Stay(row) if row.id == id => Some(claim(row)),
            _ => None,
        })?;
        if rows.is_taken(&row) {
            return Some(Vec::new());
        }
        let owner = Edit::Owner(row.owner, OwnerRow::NEW);
        let is_owned = rows.owners.contains_key(&row.owner);
        Some([Edit::Add(row)].into_iter().chain((!is_owned).then_some(owner)).collect())
    }

    /// What ought to be written over the keys that stand there: every one of them, also as it
    /// stands, so that a commit that is under way is overtaken.
    pub fn written_again(&self, rows: &Rows) -> Vec<Edit> {
        let edit = |goal: &Goal| match goal {
            Goal::Void(row) => Some(Edit::Set(voided(rows.keys.get(&row.id)?))),
            // Taken away again if it only kept the place of one that had not landed.
            Goal::Stay(row) => {
                let now = rows.keys.get(&row.id)?;
                is_same(now, &claim(row)).then(|| Edit::Take(now.clone()))
            }
            Goal::Owner { .. } => None,
            Goal::Again { before, after, owner, is_overtaken } => {
                let now = rows.keys.get(&after.id)?;
                let is_as_read = is_same(now, before) && rows.owners[&now.owner] == *owner;
                let is_untouched = is_as_read || is_as_written(now, before, after);
                let row = if is_untouched && !is_overtaken {
                    after.clone()
                } else {
                    narrowed(now, before, after)
                };
                // What is recorded of its uses meanwhile is kept.
                Some(Edit::Set(Row { used: now.used, ..row }))
            }
            Goal::Restore { before, after } => {
                let now = rows.keys.get(&after.id)?;
                let row = if is_as_written(now, before, after) { before } else { now };
                Some(Edit::Set(Row { used: now.used, ..row.clone() }))
            }
            Goal::Take(row) => Some(Edit::Take(rows.keys.get(&row.id)?.clone())),
        };
        self.goals.iter().filter_map(edit).collect()
    }

    /// What ought to be written over the owner it is about.
    pub fn owner_again(&self, rows: &Rows) -> Option<Edit> {
        self.goals.iter().find_map(|goal| {
            let Goal::Owner { owner, before, after, is_overtaken } = goal else { return None };
            let now = rows.owners[owner];
            let keep = |now: bool, before: bool, after: bool| now && (after || !before);
            let narrowed = OwnerRow {
                active: keep(now.active, before.active, after.active),
                staff: keep(now.staff, before.staff, after.staff),
            };
            // An owner's row does not tell whether it was changed and changed back since.
            let is_untouched = !is_overtaken && now == *after;
            Some(Edit::Owner(*owner, if is_untouched { *after } else { narrowed }))
        })
    }
}

fn voided(row: &Row) -> Row {
    Row { active: false, predecessor: None, ..row.clone() }
}

/// What keeps the place of an imported key that has not landed: such that nobody can use it.
fn claim(row: &Row) -> Row {
    Row { expires: Some(row.created), ..voided(row) }
}

fn is_same(one: &Row, other: &Row) -> bool {
    Row { used: None, ..one.clone() } == Row { used: None, ..other.clone() }
}

/// Whether a row is as a change left it, in a store that may keep no time of it.
fn is_as_written(now: &Row, before: &Row, after: &Row) -> bool {
    is_same(now, after) || is_same(now, &Row { updated: before.updated, ..after.clone() })
}

/// What stands there now, less what the change took away.
fn narrowed(now: &Row, before: &Row, after: &Row) -> Row {
    let is_shorter =
        after.expires.is_some_and(|after| before.expires.is_none_or(|before| after < before));
    let expires = if is_shorter {
        [now.expires, after.expires].into_iter().flatten().min()
    } else {
        now.expires
    };
    // To deactivate what was inactive takes nothing away, and is meant all the same.
    let only_denies =
        !after.active && is_same(before, &Row { updated: before.updated, ..after.clone() });
    let row = Row {
        active: now.active && !only_denies && (after.active || !before.active),
        expires,
        scopes: now.scopes & !(before.scopes & !after.scopes),
        ..now.clone()
    };
    if is_same(&row, now) {
        return row;
    }
    Row { updated: now.updated.max(after.updated), ..row }
}
