//! What each authenticator may still believe of a token.

use std::collections::HashMap;

use tower_token_auth::{KeyId, TokenDigest};

use super::{
    repairs::{Lost, Subject},
    rows::Moment,
};
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
        Some(known) if !known.active => Verdict::KeyInactive,
        Some(known) if !known.owner_active => Verdict::OwnerInactive,
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

    fn ever(&self) -> impl Iterator<Item = Option<Known>> {
        self.0.iter().map(|(_, known)| *known)
    }
}

/// One authenticator's mind.
#[derive(Debug, Default)]
pub struct Mind {
    /// When what was read about a subject was outdated, as a place in the order of changes.
    stamps: HashMap<Subject, u64>,
    flushed: u64,
    /// Its changes that are not settled.
    pub lost: Vec<Lost>,
    /// What was read of each token and may still be kept.
    looks: HashMap<TokenDigest, Vec<Look>>,
    /// Calendar less passed time, in milliseconds, when the two were last found apart.
    offset: i64,
}

/// What the rules of belief are.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub fresh_ttl: u64,
    pub negative_ttl: u64,
    /// Whether a cache never has to give anything up for want of room.
    pub is_roomy: bool,
}

impl Mind {
    pub fn outdate(&mut self, subjects: &[Subject], at: u64) {
        self.stamps.extend(subjects.iter().map(|subject| (*subject, at)));
    }

    /// A change of its own was made, or may have been: what was lost before is behind it.
    pub fn overtake(&mut self, subjects: &[Subject]) {
        self.lost.iter_mut().for_each(|lost| lost.overtaken(subjects));
    }

    pub fn flush(&mut self, at: u64) {
        self.flushed = at;
    }

    /// A decision is made: clocks that have come apart are noticed. The machine may have slept.
    pub fn notice(&mut self, offset: i64, at: u64) {
        if self.offset.abs_diff(offset) > 2_000 {
            self.offset = offset;
            self.flush(at);
        }
    }

    /// A read has landed. `holds` are those of the same token that looked earlier and have not.
    pub fn learn(&mut self, history: &History, digest: TokenDigest, look: Look, rules: Rules) {
        // What is suspect or outdated by now is not kept, and replaces nothing.
        let is_kept = history.seen(look).all(|known| {
            !self.suspects(&digest, known) && look.from >= self.outdated(&digest, known)
        });
        let looks = self.looks.entry(digest).or_default();
        if !is_kept {
            looks.push(look);
        } else if looks.iter().any(|other| other.millis > look.millis || other.from > look.from) {
            // An older read never replaces a newer one. If there was no room for the newer one,
            // nobody can tell that this one is older.
            if !rules.is_roomy || looks.iter().all(|other| other.millis <= look.millis) {
                looks.push(look);
            }
        } else {
            *looks = vec![look];
        }
    }

    /// What it may believe without asking the store.
    pub fn beliefs(
        &self,
        history: &History,
        digest: &TokenDigest,
        more: &[Look],
        now: u64,
        rules: Rules,
    ) -> Vec<Option<Known>> {
        let looks = self.looks.get(digest).into_iter().flatten().chain(more);
        let believes = |look: &Look| {
            let look = *look;
            history.seen(look).filter(move |known| {
                let ttl = if known.is_some() { rules.fresh_ttl } else { rules.negative_ttl };
                now - look.millis < ttl && look.from >= self.outdated(digest, *known)
            })
        };
        looks.flat_map(believes).collect()
    }

    /// The place of the last change that outdates this.
    fn outdated(&self, digest: &TokenDigest, known: Option<Known>) -> u64 {
        let of_key = known.map(|known| [Subject::Key(known.id), Subject::Owner(known.owner)]);
        let subjects = of_key.into_iter().flatten().chain([Subject::Digest(*digest)]);
        let stamps = subjects.filter_map(|subject| self.stamps.get(&subject));
        stamps.copied().max().unwrap_or_default().max(self.flushed)
    }

    /// Whether nothing may be said about this, as a change of it is not settled.
    pub fn suspects(&self, digest: &TokenDigest, known: Option<Known>) -> bool {
        self.lost.iter().flat_map(|lost| &lost.subjects).any(|subject| match subject {
            Subject::Digest(own) => own == digest,
            Subject::Key(id) => known.is_some_and(|known| known.id == *id),
            Subject::Owner(owner) => known.is_some_and(|known| known.owner == *owner),
        })
    }

    /// Whether anything that it ever read of the token is suspect: it may still lie about.
    pub fn suspects_any(&self, digest: &TokenDigest, history: &History) -> bool {
        history.ever().any(|known| self.suspects(digest, known))
    }
}
