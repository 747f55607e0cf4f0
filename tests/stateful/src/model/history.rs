//! What there was to know of a token, and what is said of it.

use tower_token_auth::KeyId;

use super::rows::Moment;
use crate::watched::Look;

/// What there is to know about a token at one time: its key and that key's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub id: KeyId,
    pub owner: u8,
    pub active: bool,
    pub expires: Option<Moment>,
    pub scopes: u8,
    pub owner_active: bool,
    pub owner_staff: bool,
}

/// What a decision says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Admitted(Known),
    Unknown,
    Expired,
    KeyInactive,
    OwnerInactive,
    /// No answer about the key.
    Busy,
}

/// What is judged on every use, however old the record is.
pub fn judge(known: Option<Known>, now: Moment) -> Verdict {
    match known {
        None => Verdict::Unknown,
        Some(known) if known.expires.is_some_and(|at| at < now) => Verdict::Expired,
        Some(known) if !known.owner_active => Verdict::OwnerInactive,
        Some(known) if !known.active => Verdict::KeyInactive,
        Some(known) => Verdict::Admitted(known),
    }
}

/// What was to be known of a token, from which change on.
#[derive(Clone, Debug, Default)]
pub struct History(Vec<(u64, Option<Known>)>);

impl History {
    pub fn begin(known: Option<Known>) -> Self {
        Self(vec![(0, known)])
    }

    pub fn becomes(&mut self, at: u64, known: Option<Known>) {
        if self.truth() != known {
            self.0.push((at, known));
        }
    }

    pub fn truth(&self) -> Option<Known> {
        self.0.last().expect("it begins with something").1
    }

    /// What a look may have seen.
    pub fn seen(&self, look: Look) -> impl Iterator<Item = Option<Known>> {
        let ends = self.0.iter().skip(1).map(|(at, _)| *at).chain([u64::MAX]);
        let of_look = move |((from, known), end): (&(u64, Option<Known>), u64)| {
            (*from <= look.to && look.from < end).then_some(*known)
        };
        self.0.iter().zip(ends).filter_map(of_look)
    }

    pub fn ever(&self) -> impl Iterator<Item = Option<Known>> {
        self.0.iter().map(|(_, known)| *known)
    }
}
