//! What each authenticator may still believe of a token.

use std::collections::HashMap;

use tower_token_auth::TokenDigest;

use super::{
    history::{History, Known},
    repairs::{Lost, Subject},
};
use crate::watched::Look;

/// Whether a process hears of the other one's changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hearing {
    /// It has no feed, and goes by its own limits.
    #[default]
    Off,
    On,
    /// It does not, and what it read before this time is relied on for a short while behind it. If
    /// there is a gap in what it heard, it believes none of that any more when it hears again.
    Deaf {
        from: u64,
        has_gap: bool,
    },
}

/// How it is with a process' feed.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    pub is_whole: bool,
    pub is_silent: bool,
    pub is_healthy: bool,
}

/// One authenticator's mind.
#[derive(Debug, Default)]
pub struct Mind {
    pub hearing: Hearing,
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

/// For how long what was read is relied on while nothing is heard.
const SHORT_TTL: u64 = 5_000;
/// For how long at most nobody notices that.
const UNNOTICED: u64 = 5_000;

/// What the rules of belief are.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub fresh_ttl: u64,
    pub negative_ttl: u64,
    pub stale_if_error: u64,
    /// Whether a cache never has to give anything up for want of room.
    pub is_roomy: bool,
}

/// When something may be believed.
#[derive(Clone, Copy, Debug)]
pub struct When {
    pub now: u64,
    /// Whether the store was, or may have been, asked in vain.
    pub is_failing: bool,
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

    /// How it is with its feed. `last` was the place of the last change when this was asked before.
    pub fn hears(&mut self, feed: Feed, now: u64, last: u64) {
        let was_deaf = match self.hearing {
            Hearing::Deaf { from, has_gap } => Some((from, has_gap)),
            Hearing::Off | Hearing::On => None,
        };
        if feed.is_whole && feed.is_healthy {
            if was_deaf.is_some_and(|(_, has_gap)| has_gap) {
                self.flush(last);
            }
            self.hearing = Hearing::On;
            return;
        }
        let noticed = if feed.is_healthy { now + UNNOTICED } else { now };
        let (from, has_gap) = was_deaf.unwrap_or((noticed, false));
        // Of one that is silent it may only be late what it has to say.
        let has_gap = has_gap || !feed.is_healthy && !feed.is_silent;
        self.hearing = Hearing::Deaf { from: from.min(noticed), has_gap };
    }

    /// A decision is made: clocks that have come apart are noticed. The machine may have slept.
    pub fn notice(&mut self, offset: i64, at: u64) {
        if self.offset.abs_diff(offset) > 2_000 {
            self.offset = offset;
            self.flush(at);
        }
    }

    /// A read has landed.
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
            if !rules.is_roomy {
                looks.push(look);
            }
        } else {
            // What landed while this one was under way may stay: if it told something new, it
            // counts as the newer one.
            looks.retain(|other| other.ended > look.begun);
            looks.push(look);
        }
    }

    /// What it may believe without asking the store, or after asking in vain.
    pub fn beliefs(
        &self,
        history: &History,
        digest: &TokenDigest,
        more: &[Look],
        when: When,
        rules: Rules,
    ) -> Vec<Option<Known>> {
        let looks = self.looks.get(digest).into_iter().flatten().chain(more);
        let believes = |look: &Look| {
            let look = *look;
            history.seen(look).filter(move |known| {
                when.now < self.end_of(look, *known, when, rules)
                    && look.from >= self.outdated(digest, *known)
            })
        };
        looks.flat_map(believes).collect()
    }

    /// From when on what a read has seen is not relied on.
    fn end_of(&self, look: Look, known: Option<Known>, when: When, rules: Rules) -> u64 {
        let (covered, heard) = match self.hearing {
            Hearing::Deaf { from, .. } => (look.millis.max(from) + SHORT_TTL, from),
            Hearing::Off | Hearing::On => (u64::MAX, u64::MAX),
        };
        let ttl = if known.is_some() { rules.fresh_ttl } else { rules.negative_ttl };
        let end = covered.min(look.millis + ttl);
        if known.is_none() || !when.is_failing || rules.stale_if_error == 0 {
            return end;
        }
        end.max(heard.min(look.millis + rules.fresh_ttl + rules.stale_if_error))
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
