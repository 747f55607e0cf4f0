//! Two authenticators over one store, driven step by step beside the model.

mod decide;
mod finish;
mod manage;
mod quiet;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chrono::TimeDelta;
use tower_token_auth::{
    ApiKey, AuthenticatedKey, Authenticator, KeyId, LastUsed, Subject, TokenDigest,
    store::KeyWrite, testing::ManualClock,
};

use self::decide::Request;
use crate::{
    backend::Backend,
    model::{
        Complaint, Model, Reach,
        minds::{Feed, Rules},
        repairs,
        rows::{Edit, OWNERS, OwnerRow, Row},
        start,
    },
    step::{Action, Outdated, Process, RawWrite, Setting, Step},
    telling::Line,
    watched::{Common, Event, Watched},
};

/// Tokens of keys that others make, so that clients have them before there is a key.
const FOREIGN: [&str; 2] = ["a-token-made-elsewhere", "another-token-made-elsewhere"];
/// How many tokens that were issued here are looked at; one whose key is gone makes room.
const ISSUED: usize = 5;

/// From which number on all keys are counted, those whose tokens nobody knows included.
const ANY: u8 = 10;
/// The number that names a key that is not there.
const NOBODY: u8 = 15;

/// What a case consisted of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub steps: usize,
    pub actions: usize,
    pub decisions: usize,
    pub admissions: usize,
    pub reads: usize,
    /// Changes that managers were asked for, made, and lost.
    pub asked: usize,
    pub made: usize,
    pub lost: usize,
}

pub struct World<B: Backend> {
    stores: [Watched<B::Store>; 2],
    auths: [Authenticator; 2],
    clock: ManualClock,
    common: Arc<Common>,
    model: Model,
    tokens: Vec<Token>,
    /// A key that was deleted, or never was: what is not found.
    gone: KeyId,
    admitted: HashMap<(usize, TokenDigest), AuthenticatedKey>,
    /// Those whose reads are held.
    requests: Vec<Request>,
    /// Whether something was written since the rows were compared.
    is_changed: bool,
    /// By what each process hears of changes, if it does.
    lines: [Option<Arc<Line>>; 2],
    /// The place of the last change that was taken note of.
    heeded: u64,
    tally: Tally,
}

struct Token {
    text: String,
    digest: TokenDigest,
}

/// Runs one case.
pub async fn run<B: Backend>(
    backend: &mut B,
    setting: &Setting,
    steps: &[Step],
) -> Result<Tally, Complaint> {
    // While such a task runs, paused time does not jump to the next timer by itself: a store with
    // threads of its own may take as long as it needs.
    let (over, until_over) = std::sync::mpsc::channel::<()>();
    let still = tokio::task::spawn_blocking(move || {
        let _ = until_over.recv();
    });
    let stores = backend.open().await;
    let outcome = World::<B>::new(stores.clone(), setting).run(setting, steps).await;
    backend.close(stores).await;
    drop(over);
    let _ = still.await;
    outcome
}

impl<B: Backend> World<B> {
    fn new(stores: [B::Store; 2], setting: &Setting) -> Self {
        let clock = ManualClock::at(start());
        let common = Arc::new(Common::default());
        let lines = [&stores[0], &stores[1]].map(B::line);
        let [one, two] = stores;
        let stores =
            [Watched::new(one, Process::One, &common), Watched::new(two, Process::Two, &common)];
        let auth = |store: &Watched<B::Store>| {
            let builder = B::builder(store.clone())
                .clock(clock.clone())
                .capacity(setting.capacity)
                .negative_capacity(setting.negative_capacity)
                .fresh_ttl(Duration::from_millis(setting.fresh_ttl))
                .negative_ttl(Duration::from_millis(setting.negative_ttl))
                .stale_if_error(Duration::from_millis(setting.stale_if_error))
                // That a key was used is noted by an order of its own.
                .last_used(LastUsed::Off);
            builder.build().expect("a setting that makes sense").0
        };
        let rules = Rules {
            fresh_ttl: setting.fresh_ttl,
            negative_ttl: setting.negative_ttl,
            stale_if_error: setting.stale_if_error,
            is_roomy: setting.capacity >= 16 && setting.negative_capacity >= 16,
        };
        let mut world = Self {
            auths: [auth(&stores[0]), auth(&stores[1])],
            stores,
            clock,
            common,
            model: Model::new(rules),
            tokens: Vec::new(),
            gone: KeyId::random(),
            admitted: HashMap::new(),
            requests: Vec::new(),
            is_changed: false,
            lines,
            heeded: 0,
            tally: Tally::default(),
        };
        FOREIGN.iter().for_each(|token| world.learn((*token).to_owned()));
        world
    }

    async fn run(mut self, setting: &Setting, steps: &[Step]) -> Result<Tally, Complaint> {
        self.rest().await;
        self.heed_all()?;
        for (number, step) in steps.iter().enumerate() {
            let taken = self.take(step).await;
            taken.map_err(|complaint| format!("at step {number}, {step:?}: {complaint}"))?;
        }
        let ended = self.end(setting).await;
        ended.map_err(|complaint| format!("after the last step: {complaint}"))?;
        self.tally.reads = self.common.reads();
        Ok(self.tally)
    }

    fn learn(&mut self, text: String) {
        let digest = TokenDigest::of(Default::default(), &text);
        self.model.learn_token(digest);
        self.tokens.push(Token { text, digest });
    }

    /// Takes a step, and then looks at every token through both authenticators.
    async fn take(&mut self, step: &Step) -> Result<(), Complaint> {
        self.tally.steps += 1;
        for action in &step.0 {
            self.tally.actions += 1;
            self.act(action).await?;
            self.rest().await;
            self.heed_all()?;
            self.answer_requests().await?;
        }
        self.look().await?;
        self.compare_rows().await
    }

    async fn act(&mut self, action: &Action) -> Result<(), Complaint> {
        match *action {
            Action::Manage(by, ref order, fate) => return self.manage(by, order, fate).await,
            Action::Raw(ref write) => self.write_raw(write).await,
            Action::Outdate(by, ref what) => self.outdate(by, what),
            Action::Authoritative { on, token } => return self.authoritative(on, token).await,
            Action::Recheck { on, token } => return self.recheck(on, token).await,
            Action::Abandon { on, token } => self.abandon(on, token).await,
            Action::Junk { on, number } => return self.junk(on, number).await,
            Action::Hold { on, token, authoritative } => {
                return self.hold(on, token, authoritative).await;
            }
            Action::Release { on } => self.stores[on as usize].own.release(),
            Action::Advance { millis } => self.advance(millis).await,
            Action::StepWall { seconds } => {
                self.clock.step_wall(TimeDelta::seconds(seconds));
                self.model.wall += TimeDelta::seconds(seconds);
            }
            Action::Down { on } => self.stores[on as usize].own.set_down(true),
            Action::Up { on } => self.stores[on as usize].own.set_down(false),
            Action::Land => self.stores[0].land_now().await,
            Action::Cut { on, silently } => {
                self.lines[on as usize].iter().for_each(|line| line.cut(silently));
            }
            Action::Mend { on } => self.lines[on as usize].iter().for_each(|line| line.mend()),
        }
        Ok(())
    }

    async fn advance(&mut self, millis: u64) {
        let span = Duration::from_millis(millis);
        self.model.advance(millis);
        self.common.millis.store(self.model.millis, Ordering::SeqCst);
        self.clock.advance(span);
        tokio::time::advance(span).await;
    }

    async fn write_raw(&mut self, write: &RawWrite) {
        // Whatever is under way is there before it is written over.
        self.stores[1].land_now().await;
        let _ = self.heed_all();
        let now = self.model.wall;
        let (edits, subjects) = match *write {
            RawWrite::SwitchOwner { owner, active } => {
                let Some(before) = self.model.rows.owners.get(&owner) else { return };
                let after = OwnerRow { active, ..*before };
                self.stores[1].write_raw_owner(&OWNERS[owner as usize].into(), active).await;
                (vec![Edit::Owner(owner, after)], vec![repairs::Subject::Owner(owner)])
            }
            RawWrite::Switch { key, .. } | RawWrite::Expire { key } | RawWrite::Remove { key } => {
                let id = self.key(key);
                let Some(before) = self.model.rows.keys.get(&id).cloned() else { return };
                let digest = repairs::Subject::Digest(before.digest);
                let edit = |key: &ApiKey| match *write {
                    RawWrite::Switch { active, .. } => {
                        KeyWrite::Update(key.clone().with_active(active))
                    }
                    RawWrite::Expire { .. } => {
                        KeyWrite::Update(key.clone().with_expires_at(Some(now)))
                    }
                    _ => KeyWrite::Delete(key.id()),
                };
                self.stores[1].write_raw(id, |family| edit(family.key.key())).await;
                let after = match *write {
                    RawWrite::Switch { active, .. } => Edit::Set(Row { active, ..before }),
                    RawWrite::Expire { .. } => Edit::Set(Row { expires: Some(now), ..before }),
                    _ => Edit::Take(before),
                };
                (vec![after], vec![repairs::Subject::Key(id), digest])
            }
        };
        let at = self.common.next();
        self.model.apply(&edits, at);
        // Whoever can hear has heard then; or has found that it can't.
        self.rest().await;
        self.listen();
        self.model.publish(&subjects, at);
        self.is_changed = true;
    }

    fn outdate(&mut self, by: Process, what: &Outdated) {
        let at = self.common.next();
        let auth = &self.auths[by as usize];
        let (subject, own) = match *what {
            Outdated::Key(number) => {
                let id = self.key(number);
                (Subject::Key(id), repairs::Subject::Key(id))
            }
            Outdated::Owner(owner) => {
                (Subject::Owner(OWNERS[owner as usize].into()), repairs::Subject::Owner(owner))
            }
            Outdated::Token(number) => {
                let digest = self.tokens[self.token(number)].digest;
                (Subject::Digest(digest), repairs::Subject::Digest(digest))
            }
            Outdated::All => {
                auth.flush();
                return self.model.flush(by, at);
            }
        };
        auth.revoke(&subject);
        self.model.outdate(by, &[own], at);
    }

    /// Has the model take note of what happened.
    fn heed_all(&mut self) -> Result<(), Complaint> {
        self.listen();
        self.common.drain().into_iter().try_for_each(|event| self.heed(event))
    }

    /// Has the model take note of whether either process hears.
    pub(super) fn listen(&mut self) {
        for on in [Process::One, Process::Two] {
            let Some(line) = &self.lines[on as usize] else { continue };
            let is_healthy = self.auths[on as usize].feed_health().is_healthy();
            let (is_whole, is_silent) = (line.is_whole(), line.is_silent());
            self.model.hears(on, Feed { is_whole, is_silent, is_healthy }, self.heeded);
        }
        self.heeded = self.common.last();
    }

    fn heed(&mut self, event: Event) -> Result<(), Complaint> {
        match event {
            Event::Read { by, digest, look } => self.model.read(by, digest, look),
            Event::Landed { at } => {
                self.model.land(at);
                self.is_changed = true;
            }
            Event::Write(write) if write.by_manager => {
                return Err(format!("nobody asked for {write:?}"));
            }
            Event::Write(write) => {
                self.model.repaired(&write)?;
                self.is_changed = true;
            }
        }
        Ok(())
    }

    fn reach(&self, on: Process) -> Reach {
        let own = &self.stores[on as usize].own;
        Reach { is_down: own.is_down(), may_fail: own.may_fail(self.model.millis) }
    }

    fn token(&self, number: u8) -> usize {
        usize::from(number) % self.tokens.len()
    }

    /// The key of a token, for the numbers by which tokens are named as well; or one of all that there
    /// are, first the one that was added first; or one that is not there.
    fn key(&self, number: u8) -> KeyId {
        let rows = &self.model.rows;
        let of_token =
            || rows.with_digest(&self.tokens[self.token(number)].digest).map(|row| row.id);
        let place = usize::from(number).checked_rem(rows.as_added.len());
        let any = place.map(|place| rows.as_added[place]).filter(|_| number != NOBODY);
        let named = if number < ANY { of_token().or(any) } else { any };
        named.unwrap_or(self.gone)
    }
}
