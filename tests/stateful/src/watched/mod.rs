//! A store as one process sees it: it can be out of reach, lose answers and hold reads, and it
//! writes down what was read and written, in order.

mod log;
mod own;

use std::{
    panic::resume_unwind,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::{MutexGuard, oneshot};
use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, Owner, OwnerId, Record, TokenDigest,
    store::{
        Capabilities, Family, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore, KeyUse,
        KeyWrite, OwnerEdit, StoreError,
    },
};

pub use self::{
    log::{Became, Common, Event, Look, What, Write},
    own::Own,
};
use self::{
    log::{Busy, Limbo},
    own::{Doom, Held},
};
use crate::step::{End, Made, Process};

tokio::task_local! {
    /// Set while a manager's own call is under way: whatever else writes is a repair.
    pub static MANAGING: ();
}

/// One process' store. Clones are one.
#[derive(Clone)]
pub struct Watched<S> {
    inner: S,
    process: Process,
    pub common: Arc<Common>,
    pub own: Arc<Own>,
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

    /// The store behind it.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Writes past every manager. The plan sees what the store has.
    pub async fn write_raw(
        &self,
        id: KeyId,
        plan: impl Fn(&Family) -> KeyWrite + Send + Sync,
    ) -> bool {
        let _busy = Busy::begin(&self.common);
        let _turn = self.turn().await;
        let made = self.inner.change(&[id], None, &mut |family| Some(vec![plan(family)])).await;
        made.is_ok()
    }

    /// The same with an owner.
    pub async fn write_raw_owner(&self, id: &OwnerId, active: bool) -> bool {
        let _busy = Busy::begin(&self.common);
        let _turn = self.turn().await;
        let mut edit =
            |now: Option<&Owner>, _: Option<&Owner>| Some(now?.clone().with_active(active));
        self.inner.change_owner(id, None, &mut edit).await.is_ok()
    }

    /// Lets a commit arrive whose answer was lost.
    pub async fn land_now(&self) {
        let _busy = Busy::begin(&self.common);
        let _turn = self.turn().await;
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

    /// Waits for the turn to write.
    async fn turn(&self) -> MutexGuard<'_, ()> {
        // A caller that comes too late to wait for anything gives up here, and not while the store
        // writes: nobody would know then what it wrote.
        tokio::task::yield_now().await;
        let turn = self.common.writing.lock().await;
        self.land().await;
        turn
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
        let (begun, ended) = (common.turn(), u64::MAX);
        let look = Look { from, to: common.last(), millis, begun, ended };
        if own.hold_next.swap(false, Ordering::SeqCst) {
            let (release, released) = oneshot::channel();
            own.held.lock().unwrap().push(Held { digest, look, release });
            drop(busy);
            let mut given_up = GivenUp { store: self, is_over: false };
            released.await.expect("only a release takes it out of the list");
            given_up.is_over = true;
        }
        own.answered();
        let look = Look { ended: common.turn(), ..look };
        common.note(Event::Read { by: self.process, digest, look });
        Ok(found)
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.inner.find_many(digests).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        let _busy = Busy::begin(&self.common);
        let _turn = self.turn().await;
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
            let _turn = self.turn().await;
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
            let _turn = self.turn().await;
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
            let _turn = self.turn().await;
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
