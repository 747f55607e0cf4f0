//! The plain model: what is stored, what time it is, and what each process may believe.

pub mod history;
pub mod minds;
pub mod orders;
pub mod repairs;
pub mod rows;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use tower_token_auth::{KeyId, TokenDigest};

use self::{
    history::{History, Known, Verdict, judge},
    minds::{Feed, Hearing, Mind, Rules, When},
    orders::{Answer, Decision, Fresh, Order, Refusal},
    repairs::{Lost, Subject, subjects_of},
    rows::{Edit, Moment, OwnerRow, Row, Rows, number_of},
};
use crate::{
    step::{End, Made, Process},
    watched::{Became, Look, What, Write},
};

/// Why the system is not as the model says.
pub type Complaint = String;

/// When every case begins.
pub fn start() -> Moment {
    DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000)
}

pub struct Model {
    pub rows: Rows,
    /// What the calendar says.
    pub wall: Moment,
    /// The time that has passed, in milliseconds.
    pub millis: u64,
    minds: [Mind; 2],
    histories: HashMap<TokenDigest, History>,
    /// What a change under way will have written.
    limbo: Vec<Edit>,
    rules: Rules,
}

/// Whether the store can be asked.
#[derive(Clone, Copy)]
pub struct Reach {
    pub is_down: bool,
    pub may_fail: bool,
}

impl Model {
    pub fn new(rules: Rules) -> Self {
        let mut model = Self {
            rows: Rows::default(),
            wall: start(),
            millis: 0,
            minds: Default::default(),
            histories: HashMap::new(),
            limbo: Vec::new(),
            rules,
        };
        let offset = model.offset();
        model.minds.iter_mut().for_each(|mind| mind.notice(offset, 0));
        model
    }

    pub fn advance(&mut self, millis: u64) {
        self.millis += millis;
        self.wall += TimeDelta::milliseconds(millis.try_into().expect("a short time"));
    }

    fn offset(&self) -> i64 {
        self.wall.timestamp_millis() - i64::try_from(self.millis).expect("a short time")
    }

    /// A token becomes known to clients.
    pub fn learn_token(&mut self, digest: TokenDigest) {
        let history = History::begin(self.known(&digest));
        self.histories.insert(digest, history);
    }

    pub fn forget_token(&mut self, digest: &TokenDigest) {
        self.histories.remove(digest);
    }

    pub fn knows(&self, digest: &TokenDigest) -> bool {
        self.histories.contains_key(digest)
    }

    fn known(&self, digest: &TokenDigest) -> Option<Known> {
        self.rows.with_digest(digest).map(|row| {
            let owner = self.rows.owners[&row.owner];
            Known {
                id: row.id,
                owner: row.owner,
                active: row.active,
                expires: row.expires,
                scopes: row.scopes,
                owner_active: owner.active,
                owner_staff: owner.staff,
            }
        })
    }

    pub fn truth(&self, digest: &TokenDigest) -> Option<Known> {
        self.histories[digest].truth()
    }

    /// What a read that is held has seen, perhaps.
    pub fn seen(&self, digest: &TokenDigest, look: Look) -> Vec<Option<Known>> {
        self.histories[digest].seen(look).collect()
    }

    pub fn apply(&mut self, edits: &[Edit], at: u64) {
        self.rows.apply(edits);
        let digests: Vec<TokenDigest> = self.histories.keys().copied().collect();
        for digest in digests {
            let known = self.known(&digest);
            self.histories.get_mut(&digest).expect("as listed").becomes(at, known);
        }
    }

    pub fn outdate(&mut self, by: Process, subjects: &[Subject], at: u64) {
        self.minds[by as usize].outdate(subjects, at);
    }

    /// A change was committed: whoever listens has heard of it by the next look at a token.
    pub fn publish(&mut self, subjects: &[Subject], at: u64) {
        let listening = self.minds.iter_mut().filter(|mind| mind.hearing == Hearing::On);
        listening.for_each(|mind| mind.outdate(subjects, at));
    }

    /// How it is with a process' feed.
    pub fn hears(&mut self, by: Process, feed: Feed, last: u64) {
        self.minds[by as usize].hears(feed, self.millis, last);
    }

    pub fn flush(&mut self, by: Process, at: u64) {
        self.minds[by as usize].flush(at);
    }

    /// A read has landed.
    pub fn read(&mut self, by: Process, digest: TokenDigest, look: Look) {
        if let Some(history) = self.histories.get(&digest) {
            self.minds[by as usize].learn(history, digest, look, self.rules);
        }
    }

    /// A commit arrived whose answer had been lost.
    pub fn land(&mut self, at: u64) {
        let edits = std::mem::take(&mut self.limbo);
        self.apply(&edits, at);
        self.publish(&subjects_of(&edits), at);
    }

    pub fn has_lost(&self, by: Process) -> bool {
        !self.minds[by as usize].lost.is_empty()
    }

    /// A manager's own call that began at one of these times has written, or tried to: says what is answered; `None` if it came upon
    /// a key of which an earlier change is not settled, and begins anew.
    pub fn ordered(
        &mut self,
        order: &Order,
        may_begin: &[Moment],
        write: &Write,
    ) -> Result<Option<Result<Answer, Refusal>>, Complaint> {
        if write.became == Became::Unreachable {
            return Ok(Some(Err(Refusal::Unavailable)));
        }
        if let What::Uses(id) = write.what
            && !self.rows.keys.contains_key(&id)
        {
            // It was there when the manager looked.
            return Ok(Some(Ok(Answer::Noted(false))));
        }
        if let (Order::Import { .. }, What::Change(ids, _)) = (order, &write.what) {
            return self.took_away(order, ids, write);
        }
        let among = match &write.what {
            What::Change(ids, _) => Some(&**ids),
            _ => None,
        };
        let settled = among.filter(|_| order.is_of_many()).map(|ids| self.settled(write.by, ids));
        let among = settled.as_deref().or(among);
        let is_held_up = self.is_unsettled(write.by, &self.touched(order, among));
        let fresh = self.fresh_of(&write.what);
        let decide = |now: &Moment| order.decide(&self.rows, *now, fresh, among);
        let is_it = |decided: &Result<Decision, Refusal>| match (&write.what, decided) {
            (What::Change(_, writes), Ok(decision)) => writes
                .iter()
                .filter_map(|write| self.rows.edit_of(write))
                .eq(decision.edits.iter().cloned()),
            _ => true,
        };
        let decided = may_begin.iter().map(decide).find(is_it);
        let decided = decided.unwrap_or_else(|| decide(&may_begin[0]));
        let decision = match (decided, write.became) {
            (Err(refusal), Became::Refused) => return Ok(Some(Err(refusal))),
            (Ok(_), Became::Refused) if is_held_up => return Ok(None),
            // What is there already needs no change.
            (Ok(decision), Became::Refused) if decision.edits.is_empty() => {
                return Ok(Some(Ok(decision.answer)));
            }
            // Nothing can have been lost.
            (Ok(decision), Became::Lost(_, end)) if decision.edits.is_empty() => {
                let is_told = end == End::Error;
                return Ok(Some(Err(if is_told {
                    Refusal::Unavailable
                } else {
                    Refusal::Unknown
                })));
            }
            (Ok(decision), Became::Told | Became::Lost(..)) => decision,
            (decided, became) => {
                return Err(format!("a change became {became:?}, and ought to: {decided:?}"));
            }
        };
        if matches!(order, Order::Accessed(_)) {
            self.apply(&decision.edits, write.at);
            return Ok(Some(Ok(decision.answer)));
        }
        if is_held_up && !decision.edits.is_empty() {
            return Err("a change was made before an earlier one of the same was settled".into());
        }
        let subjects = subjects_of(&decision.edits);
        let mind = &mut self.minds[write.by as usize];
        mind.outdate(&subjects, write.at);
        mind.overtake(&subjects);
        if let Became::Lost(made, _) = write.became {
            mind.lost.push(Lost::new(order, &decision.edits, &self.rows));
            self.made(made, decision.edits, write.at);
            return Ok(Some(Err(Refusal::Unknown)));
        }
        self.made(Made::Yes, decision.edits, write.at);
        Ok(Some(Ok(decision.answer)))
    }

    /// An import took away what only kept the place of one that was lost; another try follows.
    fn took_away(
        &mut self,
        order: &Order,
        ids: &[KeyId],
        write: &Write,
    ) -> Result<Option<Result<Answer, Refusal>>, Complaint> {
        if write.became == Became::Refused {
            return Ok(None);
        }
        let row = ids.first().and_then(|id| self.rows.keys.get(id)).cloned();
        let row = row.filter(Row::keeps_a_place);
        let row = row.ok_or("an import took away what was no mere place-holder")?;
        let edits = vec![Edit::Take(row.clone())];
        let subjects = subjects_of(&edits);
        let mind = &mut self.minds[write.by as usize];
        mind.outdate(&subjects, write.at);
        mind.overtake(&subjects);
        if let Became::Lost(made, _) = write.became {
            mind.lost.push(Lost::new(order, &edits, &self.rows));
            self.made(made, edits, write.at);
            return Ok(Some(Err(Refusal::Unknown)));
        }
        self.made(Made::Yes, edits, write.at);
        Ok(Some(Ok(Answer::Imported(row, false))))
    }

    /// What a change looks at, and must find settled: the keys with those that they replaced, or
    /// whatever else it is about.
    fn touched(&self, order: &Order, among: Option<&[KeyId]>) -> Vec<Subject> {
        let Some(among) = among else { return order.subjects() };
        let keys = &self.rows.keys;
        let older = |id| keys.get(&keys.get(id)?.predecessor?).map(|row| row.id);
        let ids = among.iter().flat_map(|id| [Some(*id), older(id)]);
        ids.flatten().map(Subject::Key).collect()
    }

    /// What an order ought to come to where a manager looks before it writes.
    pub fn would(&self, by: Process, order: &Order, now: Moment) -> Result<Decision, Refusal> {
        let listed: Vec<KeyId> = self.rows.in_order().iter().map(|row| row.id).collect();
        let among = order.is_of_many().then(|| self.settled(by, &listed));
        order.decide(&self.rows, now, Fresh::nobody(), among.as_deref())
    }

    /// Those of these keys that an order of many does not leave out, as they or what they replaced are
    /// not settled.
    fn settled(&self, by: Process, ids: &[KeyId]) -> Vec<KeyId> {
        let keys = &self.rows.keys;
        let older = |id: &KeyId| keys.get(&keys.get(id)?.predecessor?).map(|row| row.id);
        let is_settled = |id: &KeyId| {
            let both = [Some(*id), older(id)].into_iter().flatten();
            !self.is_unsettled(by, &both.map(Subject::Key).collect::<Vec<Subject>>())
        };
        ids.iter().copied().filter(is_settled).collect()
    }

    /// Whether a process has lost something about these, and not settled it.
    fn is_unsettled(&self, by: Process, subjects: &[Subject]) -> bool {
        self.minds[by as usize].lost.iter().any(|lost| lost.is_about(subjects))
    }

    /// Whether an order can't be taken, as what was lost before is not settled.
    pub fn holds_up(&self, by: Process, order: &Order) -> bool {
        match order {
            Order::RevokeAll(_) | Order::DeleteExpired => self.has_lost(by),
            Order::RevokeToken(digest) => {
                let key = self.rows.with_digest(digest).map(|row| Subject::Key(row.id));
                let subjects: Vec<Subject> = order.subjects().into_iter().chain(key).collect();
                self.is_unsettled(by, &subjects)
            }
            _ => self.is_unsettled(by, &order.subjects()),
        }
    }

    fn made(&mut self, made: Made, edits: Vec<Edit>, at: u64) {
        match made {
            Made::Yes => {
                self.apply(&edits, at);
                self.publish(&subjects_of(&edits), at);
            }
            Made::No => {}
            Made::Later => self.limbo = edits,
        }
    }

    /// A repair has written, or tried to.
    pub fn repaired(&mut self, write: &Write) -> Result<(), Complaint> {
        if write.became == Became::Unreachable {
            return Ok(());
        }
        let lost = &self.minds[write.by as usize].lost;
        let expected = lost.iter().enumerate().filter_map(|(place, lost)| {
            let edits = match &write.what {
                What::Insert(key) => lost.added_again(key.id(), &self.rows)?,
                What::Change(ids, _) => {
                    (lost.ids() == *ids).then(|| lost.written_again(&self.rows))?
                }
                What::Owner(id, _) => {
                    let edit = lost.owner_again(&self.rows)?;
                    let is_it =
                        matches!(edit, Edit::Owner(owner, _) if owner == number_of(id.as_str()));
                    is_it.then_some(vec![edit])?
                }
                What::Uses(_) => return None,
            };
            Some((place, edits))
        });
        let expected: Vec<(usize, Vec<Edit>)> = expected.collect();
        let actual: Vec<Edit> = match &write.what {
            What::Insert(key) => {
                let is_refused = write.became == Became::Refused;
                (!is_refused).then(|| Edit::Add(Row::of(key))).into_iter().collect()
            }
            What::Change(_, writes) => {
                writes.iter().filter_map(|write| self.rows.edit_of(write)).collect()
            }
            What::Owner(id, owner) => {
                let edit = |owner| Edit::Owner(number_of(id.as_str()), OwnerRow::of(owner));
                owner.iter().map(edit).collect()
            }
            What::Uses(_) => Vec::new(),
        };
        // An owner's row that is made along with a key is no write of its own.
        let is_as = |edits: &[Edit]| {
            let along = |edit: &&Edit| {
                matches!(write.what, What::Insert(_)) && matches!(edit, Edit::Owner(..))
            };
            edits.iter().filter(|edit| !along(edit)).eq(&actual)
        };
        let Some((place, edits)) = expected.iter().find(|(_, edits)| is_as(edits)).cloned() else {
            return Err(format!("a repair wrote {actual:#?}, and ought to: {expected:#?}"));
        };
        let is_last = !matches!(write.what, What::Insert(_));
        let lost = lost[place].clone();
        match write.became {
            Became::Told | Became::Refused => {
                self.made(Made::Yes, edits, write.at);
                if is_last {
                    let mind = &mut self.minds[write.by as usize];
                    mind.lost.remove(place);
                    mind.overtake(&lost.subjects);
                    mind.outdate(&lost.subjects, write.at);
                }
            }
            Became::Lost(made, _) => self.made(made, edits, write.at),
            Became::Unreachable => unreachable!("nothing was written"),
        }
        Ok(())
    }

    /// What may be decided about a token now.
    pub fn verdicts(
        &mut self,
        by: Process,
        digest: &TokenDigest,
        reach: Reach,
        at: u64,
    ) -> Vec<Verdict> {
        let mut known = self.beliefs(by, digest, reach.may_fail, at, &[]);
        if !reach.is_down {
            known.push(self.truth(digest));
        }
        self.judge_all(by, digest, &known, reach)
    }

    /// The same for a decision that must not rest on the cache; but what that refuses, it refuses.
    pub fn authoritative(
        &mut self,
        by: Process,
        digest: &TokenDigest,
        reach: Reach,
        at: u64,
    ) -> Vec<Verdict> {
        let mut known = self.beliefs(by, digest, false, at, &[]);
        known.retain(Option::is_none);
        if !reach.is_down {
            known.push(self.truth(digest));
        }
        self.judge_all(by, digest, &known, reach)
    }

    /// What a process may believe, as if `more` reads had landed, too.
    pub fn beliefs(
        &mut self,
        by: Process,
        digest: &TokenDigest,
        is_failing: bool,
        at: u64,
        more: &[Look],
    ) -> Vec<Option<Known>> {
        let (offset, when) = (self.offset(), When { now: self.millis, is_failing });
        let mind = &mut self.minds[by as usize];
        mind.notice(offset, at);
        mind.beliefs(&self.histories[digest], digest, more, when, self.rules)
    }

    /// What any of these says now.
    pub fn judged(&self, known: &[Option<Known>]) -> impl Iterator<Item = Verdict> {
        known.iter().map(|known| judge(*known, self.wall))
    }

    fn judge_all(
        &self,
        by: Process,
        digest: &TokenDigest,
        known: &[Option<Known>],
        reach: Reach,
    ) -> Vec<Verdict> {
        let mind = &self.minds[by as usize];
        let verdict = |known: &Option<Known>| {
            if mind.suspects(digest, *known) { Verdict::Busy } else { judge(*known, self.wall) }
        };
        let is_busy = reach.may_fail || mind.suspects_any(digest, &self.histories[digest]);
        known.iter().map(verdict).chain(is_busy.then_some(Verdict::Busy)).collect()
    }

    /// The key that a change makes; where it makes none, nobody asks.
    fn fresh_of(&self, what: &What) -> Fresh {
        let made = match what {
            What::Insert(key) => Some((key.id(), *key.digest())),
            What::Change(_, writes) => {
                writes.iter().find_map(|write| match self.rows.edit_of(write) {
                    Some(Edit::Add(row)) => Some((row.id, row.digest)),
                    _ => None,
                })
            }
            What::Owner(..) | What::Uses(_) => None,
        };
        made.map_or_else(Fresh::nobody, |(id, digest)| Fresh { id, digest })
    }
}
