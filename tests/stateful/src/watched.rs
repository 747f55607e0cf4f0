//! A store as one process sees it: it can be out of reach, lose answers and hold reads, and it
//! writes down what was read and written, in order.

use std::{
    panic::resume_unwind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::{Mutex as Turn, Notify, oneshot};
use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, Owner, OwnerId, Record, TokenDigest,
    store::{
        Capabilities, Family, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore, KeyUse,
        KeyWrite, OwnerEdit, StoreError,
    },
};

use crate::step::{End, Fate, Made, Process};

tokio::task_local! {
    /// Set while a manager's own call is under way: whatever else writes is a repair.
    pub static MANAGING: ();
}

/// What happened in the stores, each with its place in their common order.
#[derive(Clone, Debug)]
pub enum Event {
    /// A read landed. It looked when `from` to `to` changes had been made, at this time.
    Read {
        by: Process,
        digest: TokenDigest,
        look: Look,
    },
    Write(Write),
    /// A commit arrived whose answer had been lost.
    Landed {
        at: u64,
    },
}

/// When a read looked: between these two places in the order, at this time.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub from: u64,
    pub to: u64,
    pub millis: u64,
}

/// One change that was asked of a store.
#[derive(Clone, Debug)]
pub struct Write {
    pub at: u64,
    pub by: Process,
    /// By a manager's own call, and not to repair one.
    pub by_manager: bool,
    pub what: What,
    pub became: Became,
}

#[derive(Clone, Debug)]
pub enum What {
    Insert(ApiKey),
    /// The keys that were asked about, and what the plan answered.
    Change(Vec<KeyId>, Vec<KeyWrite>),
    /// What the edit answered.
    Owner(OwnerId, Option<Owner>),
    Uses(KeyId),
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// Made, and the caller was told.
    Told,
    /// Not made, and the caller was told.
    Refused,
    /// The store could not be reached.
    Unreachable,
    /// Its answer was lost.
    Lost(Made, End),
}

/// What both processes' stores have in common.
#[derive(Default)]
pub struct Common {
    /// How many changes there were: the place of the last one in the order.
    order: AtomicU64,
    /// The time that has passed, in milliseconds.
    pub millis: AtomicU64,
    log: Mutex<Vec<Event>>,
    limbo: Mutex<Option<Limbo>>,
    /// Held by whoever writes, so that the log's order is the store's.
    writing: Turn<()>,
    /// Calls that are under way, and will end by themselves.
    busy: AtomicUsize,
    /// Calls that were begun.
    begun: AtomicUsize,
    quiet: Notify,
    reads: AtomicUsize,
}

/// A change that was decided on and not yet committed. It holds the store's lock: nothing is
/// written before it.
enum Limbo {
    Change(KeyId, Vec<KeyWrite>),
    Insert(Box<ApiKey>, Owner),
    Owner(Owner),
}

impl Common {
    /// The next place in the order.
    pub fn next(&self) -> u64 {
        self.order.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The place of the last change.
    pub fn last(&self) -> u64 {
        self.order.load(Ordering::SeqCst)
    }

    pub fn drain(&self) -> Vec<Event> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    pub fn has_limbo(&self) -> bool {
        self.limbo.lock().unwrap().is_some()
    }

    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) > 0
    }

    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// How many reads the stores answered.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Waits until no call is under way.
    pub async fn rest(&self) {
        loop {
            let quiet = self.quiet.notified();
            if !self.is_busy() {
                return;
            }
            quiet.await;
        }
    }

    fn note(&self, event: Event) {
        self.log.lock().unwrap().push(event);
    }

    fn now(&self) -> u64 {
        self.millis.load(Ordering::SeqCst)
    }
}

/// A call that is under way.
struct Busy<'a>(&'a Common);

impl<'a> Busy<'a> {
    fn begin(common: &'a Common) -> Self {
        common.busy.fetch_add(1, Ordering::SeqCst);
        common.begun.fetch_add(1, Ordering::SeqCst);
        Self(common)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if self.0.busy.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}

/// One process' store. Clones are one.
#[derive(Clone)]
pub struct Watched<S> {
    inner: S,
    process: Process,
    pub common: Arc<Common>,
    pub own: Arc<Own>,
}

/// What is a process' own.
#[derive(Default)]
pub struct Own {
    is_down: AtomicBool,
    pub hold_next: AtomicBool,
    /// A manager's call waits for an answer that never comes.
    pub hangs: AtomicBool,
    fate: Mutex<Option<Doom>>,
    held: Mutex<Vec<Held>>,
    failures: Mutex<Failures>,
}

/// A read that has looked and does not answer.
struct Held {
    digest: TokenDigest,
    look: Look,
    release: oneshot::Sender<()>,
}

/// Reads that failed in a row, as a breaker counts them.
#[derive(Clone, Copy, Default)]
struct Failures {
    in_a_row: u32,
    last_try: u64,
}

/// How the next writes are lost.
#[derive(Clone, Copy)]
struct Doom {
    made: Made,
    end: End,
    times: u8,
    down: bool,
}

impl Own {
    /// Sets what becomes of the next writes.
    pub fn set_fate(&self, fate: Fate) {
        *self.fate.lock().unwrap() = match fate {
            Fate::Answered => None,
            Fate::Lost { made, end, times, down } => Some(Doom { made, end, times, down }),
        };
    }

    fn take_fate(&self) -> Option<Doom> {
        let mut fate = self.fate.lock().unwrap();
        let taken = (*fate)?;
        *fate = (taken.times > 1).then_some(Doom { times: taken.times - 1, ..taken });
        Some(taken)
    }

    pub fn is_down(&self) -> bool {
        self.is_down.load(Ordering::SeqCst)
    }

    /// Whether a read may fail now: the store is down, or failed so often that it is hardly asked.
    pub fn may_fail(&self, now: u64) -> bool {
        let failures = *self.failures.lock().unwrap();
        self.is_down() || failures.in_a_row >= 3 && now < failures.last_try + 500
    }

    /// When the reads that are held looked, first the one that was held first.
    pub fn held(&self) -> Vec<(TokenDigest, Look)> {
        self.held.lock().unwrap().iter().map(|held| (held.digest, held.look)).collect()
    }

    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Lets the read that was held first answer, if there is one.
    pub fn release(&self) {
        let mut held = self.held.lock().unwrap();
        if !held.is_empty() {
            let _ = held.remove(0).release.send(());
        }
    }

    fn tried(&self, now: u64) {
        self.failures.lock().unwrap().last_try = now;
    }

    fn failed(&self, now: u64) {
        let mut failures = self.failures.lock().unwrap();
        failures.in_a_row += 1;
        failures.last_try = now;
    }

    fn answered(&self) {
        self.failures.lock().unwrap().in_a_row = 0;
    }
}

fn out_of_reach() -> StoreError {
    StoreError::unavailable("a test said so")
}

fn is_managing() -> bool {
    MANAGING.try_with(|()| ()).is_ok()
}

impl<S: KeyRepository> Watched<S> {
    pub fn new(inner: S, process: Process, common: &Arc<Common>) -> Self {
        Self { inner, process, common: Arc::clone(common), own: Arc::default() }
    }

    /// Writes past every manager. The plan sees what the store has.
    pub async fn write_raw(
        &self,
        id: KeyId,
        plan: impl Fn(&Family) -> KeyWrite + Send + Sync,
    ) -> bool {
        let _busy = Busy::begin(&self.common);
        let _turn = self.common.writing.lock().await;
        self.land().await;
        let made = self.inner.change(&[id], None, &mut |family| Some(vec![plan(family)])).await;
        made.is_ok()
    }

    /// The same with an owner.
    pub async fn write_raw_owner(&self, id: &OwnerId, active: bool) -> bool {
        let _busy = Busy::begin(&self.common);
        let _turn = self.common.writing.lock().await;
        self.land().await;
        let mut edit =
            |now: Option<&Owner>, _: Option<&Owner>| Some(now?.clone().with_active(active));
        self.inner.change_owner(id, None, &mut edit).await.is_ok()
    }

    /// Lets a commit arrive whose answer was lost.
    pub async fn land_now(&self) {
        let _busy = Busy::begin(&self.common);
        let _turn = self.common.writing.lock().await;
        self.land().await;
    }

    /// All rows, whatever the process may reach.
    pub async fn dump(&self) -> Vec<Record> {
        let _busy = Busy::begin(&self.common);
        self.inner.list(KeyQuery::first(1_000)).await.expect("the store itself works")
    }

    /// An owner's row, whatever the process may reach.
    pub async fn dump_owner(&self, id: &OwnerId) -> Option<Owner> {
        let _busy = Busy::begin(&self.common);
        self.inner.owner(id).await.expect("the store itself works")
    }

    /// Whoever writes next waits for the lock of the change that is under way.
    async fn land(&self) {
        let limbo = self.common.limbo.lock().unwrap().take();
        let landed = match limbo {
            None => return,
            Some(Limbo::Change(id, writes)) => {
                let mut plan = |_: &Family| Some(writes.clone());
                self.inner.change(&[id], None, &mut plan).await.map(drop)
            }
            Some(Limbo::Insert(key, owner)) => {
                self.inner.insert(*key, owner, None, &mut |_, _| true).await.map(drop)
            }
            Some(Limbo::Owner(owner)) => {
                let mut edit = |_: Option<&Owner>, _: Option<&Owner>| Some(owner.clone());
                self.inner.change_owner(owner.id(), None, &mut edit).await.map(drop)
            }
        };
        landed.expect("nothing was written since it was decided on");
        self.common.note(Event::Landed { at: self.common.next() });
    }

    /// Writes down a change, and says how it ends.
    fn ends<T>(
        &self,
        what: What,
        limbo: Option<Limbo>,
        fate: Option<Doom>,
        outcome: Result<T, StoreError>,
        was_decided: bool,
    ) -> Ending<T> {
        let lost = fate.filter(|_| was_decided);
        let became = match (&outcome, lost) {
            (_, Some(doom)) => Became::Lost(doom.made, doom.end),
            (Ok(_), None) => Became::Told,
            (Err(_), None) => Became::Refused,
        };
        if matches!(became, Became::Lost(Made::Later, _)) {
            *self.common.limbo.lock().unwrap() = limbo;
        }
        self.wrote(what, became);
        match lost {
            Some(doom) => {
                if doom.down {
                    self.own.set_down(true);
                }
                Ending::Lost(doom.end)
            }
            None => Ending::Told(outcome),
        }
    }

    fn wrote(&self, what: What, became: Became) {
        let (at, by_manager) = (self.common.next(), is_managing());
        let write = Write { at, by: self.process, by_manager, what, became };
        self.common.note(Event::Write(write));
    }
}

/// How a change ends, to be told when the lock is given back.
enum Ending<T> {
    Told(Result<T, StoreError>),
    Lost(End),
}

impl<T> Ending<T> {
    async fn tell(self, own: &Own) -> Result<T, StoreError> {
        match self {
            Self::Told(outcome) => outcome,
            Self::Lost(End::Error) => Err(StoreError::other("the connection broke")),
            Self::Lost(End::Panic) => resume_unwind(Box::new("a store that panics")),
            Self::Lost(End::Dropped) => {
                if is_managing() {
                    own.hangs.store(true, Ordering::SeqCst);
                }
                std::future::pending().await
            }
        }
    }
}

impl<S: KeyRepository> KeyStore for Watched<S> {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.inner.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        let busy = Busy::begin(&self.common);
        let (common, own) = (&*self.common, &*self.own);
        if is_managing() {
            // Not a decision's read.
            return if own.is_down() { Err(out_of_reach()) } else { self.inner.find(digest).await };
        }
        own.tried(common.now());
        if own.is_down() {
            own.failed(common.now());
            return Err(out_of_reach());
        }
        common.reads.fetch_add(1, Ordering::SeqCst);
        let (from, millis) = (common.last(), common.now());
        let found = self.inner.find(digest).await.expect("the store itself works");
        let look = Look { from, to: common.last(), millis };
        if own.hold_next.swap(false, Ordering::SeqCst) {
            let (release, released) = oneshot::channel();
            own.held.lock().unwrap().push(Held { digest, look, release });
            drop(busy);
            let mut given_up = GivenUp { store: self, is_over: false };
            released.await.expect("only a release takes it out of the list");
            given_up.is_over = true;
        }
        own.answered();
        common.note(Event::Read { by: self.process, digest, look });
        Ok(found)
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.inner.find_many(digests).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        let _busy = Busy::begin(&self.common);
        let _turn = self.common.writing.lock().await;
        self.land().await;
        if self.own.is_down() {
            return Err(out_of_reach());
        }
        let written = self.inner.record_uses(uses).await?;
        self.wrote(What::Uses(uses[0].key), Became::Told);
        Ok(written)
    }
}

/// A held read that is dropped before it answered: it took too long.
struct GivenUp<'a, S> {
    store: &'a Watched<S>,
    is_over: bool,
}

impl<S> Drop for GivenUp<'_, S> {
    fn drop(&mut self) {
        if !self.is_over {
            let Watched { own, common, .. } = self.store;
            // By now this read's own end of the channel is gone.
            own.held.lock().unwrap().retain(|held| !held.release.is_closed());
            own.failed(common.now());
        }
    }
}

impl<S: KeyRepository> KeyRepository for Watched<S> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn insert(
        &self,
        key: ApiKey,
        owner: Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        let ending = {
            let _busy = Busy::begin(&self.common);
            let _turn = self.common.writing.lock().await;
            self.land().await;
            let what = What::Insert(key.clone());
            if self.own.is_down() {
                self.wrote(what, Became::Unreachable);
                return Err(out_of_reach());
            }
            let fate = self.own.take_fate();
            let is_made = fate.is_none_or(|doom| doom.made == Made::Yes);
            let mut was_decided = false;
            let mut judge = |owner: &Owner, caller: Option<&Owner>| {
                was_decided = judge(owner, caller);
                was_decided && is_made
            };
            let limbo = Limbo::Insert(Box::new(key.clone()), owner.clone());
            let outcome = self.inner.insert(key, owner, caller, &mut judge).await;
            self.ends(what, Some(limbo), fate, outcome, was_decided)
        };
        ending.tell(&self.own).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        let _busy = Busy::begin(&self.common);
        if self.own.is_down() { Err(out_of_reach()) } else { self.inner.get(id).await }
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        let ending = {
            let _busy = Busy::begin(&self.common);
            let _turn = self.common.writing.lock().await;
            self.land().await;
            if self.own.is_down() {
                self.wrote(What::Change(ids.into(), Vec::new()), Became::Unreachable);
                return Err(out_of_reach());
            }
            // Of many keys each is decided on with what was written for those before it, which a
            // change that is not made can't show.
            let made = |doom: Doom| if ids.len() > 1 { Made::Yes } else { doom.made };
            let fate = self.own.take_fate().map(|doom| Doom { made: made(doom), ..doom });
            let is_made = fate.is_none_or(|doom| doom.made == Made::Yes);
            let mut writes = Vec::new();
            let mut was_decided = false;
            let mut plan = |family: &Family| {
                let planned = plan(family);
                was_decided = planned.is_some();
                let planned = planned?;
                writes.extend(planned.iter().cloned());
                is_made.then_some(planned)
            };
            let outcome = self.inner.change(ids, caller, &mut plan).await;
            let limbo = ids.first().map(|id| Limbo::Change(*id, writes.clone()));
            self.ends(What::Change(ids.into(), writes), limbo, fate, outcome, was_decided)
        };
        ending.tell(&self.own).await
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        let _busy = Busy::begin(&self.common);
        if self.own.is_down() { Err(out_of_reach()) } else { self.inner.list(query).await }
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        let _busy = Busy::begin(&self.common);
        if self.own.is_down() { Err(out_of_reach()) } else { self.inner.owner(id).await }
    }

    async fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        let ending = {
            let _busy = Busy::begin(&self.common);
            let _turn = self.common.writing.lock().await;
            self.land().await;
            if self.own.is_down() {
                self.wrote(What::Owner(id.clone(), None), Became::Unreachable);
                return Err(out_of_reach());
            }
            let fate = self.own.take_fate();
            let is_made = fate.is_none_or(|doom| doom.made == Made::Yes);
            let mut decided = None;
            let mut edit = |now: Option<&Owner>, caller: Option<&Owner>| {
                decided = edit(now, caller);
                decided.clone().filter(|_| is_made)
            };
            let outcome = self.inner.change_owner(id, caller, &mut edit).await;
            let limbo = decided.clone().map(Limbo::Owner);
            let was_decided = decided.is_some();
            self.ends(What::Owner(id.clone(), decided), limbo, fate, outcome, was_decided)
        };
        ending.tell(&self.own).await
    }
}
