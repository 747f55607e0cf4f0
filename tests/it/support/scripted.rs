//! A store in memory that counts its reads, and holds, delays or fails them as a test says.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, MemoryStore, Owner, OwnerId, Record, TokenDigest,
    store::{
        Capabilities, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit,
        StoreError,
    },
};

use super::{
    late::{Late, Row},
    patiently,
};

/// A [`MemoryStore`] under a test's control. Clones share rows and script.
///
/// A read is counted, waits at the first gate, lets the delay pass, takes its steps, fails if it is
/// to, reads the rows, takes its other steps, waits at the second gate, and answers. A change waits at its own gate, takes
/// its steps, meets its fate, takes its steps again, and answers, or loses the answer.
#[derive(Clone)]
pub(crate) struct Scripted {
    rows: MemoryStore,
    script: Arc<Script>,
}

struct Script {
    begun: watch::Sender<usize>,
    reads_held: watch::Sender<bool>,
    answers_held: watch::Sender<bool>,
    changes_begun: watch::Sender<usize>,
    changes_held: watch::Sender<bool>,
    delay: Mutex<Duration>,
    read_steps: AtomicUsize,
    answer_steps: AtomicUsize,
    change_steps: AtomicUsize,
    failing: AtomicBool,
    read_fault: Mutex<Option<Fault>>,
    answers_lost: AtomicBool,
    fate: Mutex<Fate>,
    stuck: Mutex<Option<KeyId>>,
    queries: Mutex<Vec<Vec<TokenDigest>>>,
    unreadable: Mutex<Option<TokenDigest>>,
    late: Late,
    in_flight: AtomicUsize,
    peak: AtomicUsize,
    uses: Mutex<Vec<KeyUse>>,
}

/// What becomes of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    #[default]
    Made,
    /// The store is down, and does not even come to ask what to write.
    Down,
    /// The connection breaks behind the commit.
    LostBehind,
    /// It breaks before the commit, which never comes.
    LostBefore,
    /// It breaks, and the commit comes when the test says so: [`Scripted::land`].
    Late,
    /// The store panics before the commit, which never comes; silently, as it does not pass the panic
    /// hook.
    PanicBefore,
    /// The store panics behind the commit.
    PanicBehind,
}

/// How a read can fail beside being unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// With an error of no particular kind.
    Other,
    /// With a panic, silent as it does not pass the panic hook.
    Panic,
}

impl Scripted {
    pub(crate) fn new() -> Self {
        Self::over(MemoryStore::new())
    }

    pub(crate) fn over(rows: MemoryStore) -> Self {
        let script = Script {
            begun: watch::Sender::new(0),
            reads_held: watch::Sender::new(false),
            answers_held: watch::Sender::new(false),
            changes_begun: watch::Sender::new(0),
            changes_held: watch::Sender::new(false),
            delay: Mutex::default(),
            read_steps: AtomicUsize::new(0),
            answer_steps: AtomicUsize::new(0),
            change_steps: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            read_fault: Mutex::default(),
            answers_lost: AtomicBool::new(false),
            fate: Mutex::default(),
            stuck: Mutex::default(),
            queries: Mutex::default(),
            unreadable: Mutex::default(),
            late: Late::default(),
            in_flight: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            uses: Mutex::default(),
        };
        Self { rows, script: Arc::new(script) }
    }

    /// The rows themselves, past the script.
    pub(crate) fn rows(&self) -> &MemoryStore {
        &self.rows
    }

    /// Holds every read before it looks at the rows, until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.script.reads_held.send_replace(true);
    }

    /// Holds every read after it looked, so that its answer may be outdated when it arrives.
    pub(crate) fn hold_answers(&self) {
        self.script.answers_held.send_replace(true);
    }

    /// Holds every change before it is made, until [`release`](Self::release).
    pub(crate) fn hold_changes(&self) {
        self.script.changes_held.send_replace(true);
    }

    /// Opens all gates.
    pub(crate) fn release(&self) {
        self.script.reads_held.send_replace(false);
        self.script.answers_held.send_replace(false);
        self.script.changes_held.send_replace(false);
    }

    /// Makes each read stop `steps` times before it looks: points where its future can be dropped.
    pub(crate) fn step_reads(&self, steps: usize) {
        self.script.read_steps.store(steps, Ordering::SeqCst);
    }

    /// Makes each read stop `steps` times after it looked.
    pub(crate) fn step_answers(&self, steps: usize) {
        self.script.answer_steps.store(steps, Ordering::SeqCst);
    }

    /// Makes each change stop `steps` times before it is made, and as often afterwards.
    pub(crate) fn step_changes(&self, steps: usize) {
        self.script.change_steps.store(steps, Ordering::SeqCst);
    }

    /// Makes changes take place and then answer with an error that does not say so.
    pub(crate) fn lose_answers(&self) {
        self.script.answers_lost.store(true, Ordering::SeqCst);
    }

    /// What each read asked for, in order.
    pub(crate) fn queries(&self) -> Vec<Vec<TokenDigest>> {
        self.script.queries.lock().unwrap().clone()
    }

    /// Has this row be one that can't be read.
    pub(crate) fn garble(&self, digest: Option<TokenDigest>) {
        *self.script.unreadable.lock().unwrap() = digest;
    }

    /// Has every change of this key lost before its commit, whatever becomes of the others.
    pub(crate) fn stick(&self, key: Option<KeyId>) {
        *self.script.stuck.lock().unwrap() = key;
    }

    /// Decides what becomes of changes from here on.
    pub(crate) fn changes(&self, fate: Fate) {
        *self.script.fate.lock().unwrap() = fate;
    }

    /// Lets those land that are [late](Fate::Late), if nobody has written their rows since; says how
    /// many did.
    pub(crate) async fn land(&self) -> usize {
        self.script.late.land(&self.rows).await
    }

    /// Makes reads fail in this way, or no longer.
    pub(crate) fn break_reads(&self, fault: Option<Fault>) {
        *self.script.read_fault.lock().unwrap() = fault;
    }

    /// Makes reads fail as unavailable, or no longer.
    pub(crate) fn fail(&self, failing: bool) {
        self.script.failing.store(failing, Ordering::SeqCst);
    }

    /// Makes each read take `delay` by tokio's clock.
    pub(crate) fn delay(&self, delay: Duration) {
        *self.script.delay.lock().unwrap() = delay;
    }

    /// How many reads were begun: one for a `find`, and one for a `find_many`.
    pub(crate) fn reads(&self) -> usize {
        *self.script.begun.borrow()
    }

    /// Waits until `count` reads were begun in all.
    pub(crate) async fn begun(&self, count: usize) {
        let mut begun = self.script.begun.subscribe();
        let all = begun.wait_for(|reads| *reads >= count);
        let all = patiently(all, || format!("{} reads of {count}", self.reads())).await;
        all.expect("the store holds the sender");
    }

    /// Waits until `count` changes were begun in all.
    pub(crate) async fn changes_begun(&self, count: usize) {
        let mut begun = self.script.changes_begun.subscribe();
        let all = begun.wait_for(|changes| *changes >= count);
        let changes = || format!("{} changes of {count}", self.changes_begun_so_far());
        patiently(all, changes).await.expect("the store holds the sender");
    }

    /// How many changes were begun.
    pub(crate) fn changes_begun_so_far(&self) -> usize {
        *self.script.changes_begun.borrow()
    }

    /// How many hold the store, this one included.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.script)
    }

    /// How many reads were under way at once, at most.
    pub(crate) fn peak(&self) -> usize {
        self.script.peak.load(Ordering::SeqCst)
    }

    /// Every use that was handed to `record_uses`, in order.
    pub(crate) fn uses(&self) -> Vec<KeyUse> {
        self.script.uses.lock().unwrap().clone()
    }

    async fn before_read(&self, digests: &[TokenDigest]) -> Result<Flying<'_>, StoreError> {
        let flying = Flying::take_off(&self.script);
        self.script.queries.lock().unwrap().push(digests.to_vec());
        self.script.begun.send_modify(|reads| *reads += 1);
        open(&self.script.reads_held).await;
        let delay = *self.script.delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        take_steps(&self.script.read_steps).await;
        let fault = *self.script.read_fault.lock().unwrap();
        match fault {
            Some(Fault::Other) => return Err(StoreError::other("a test said so")),
            Some(Fault::Panic) => std::panic::resume_unwind(Box::new("a test said so")),
            None => {}
        }
        if self.script.failing.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("a test said so"));
        }
        let unreadable = *self.script.unreadable.lock().unwrap();
        if unreadable.is_some_and(|digest| digests.contains(&digest)) {
            return Err(StoreError::other("a row can't be read"));
        }
        Ok(flying)
    }

    /// What is to become of a change that begins now.
    async fn begin(&self) -> Result<Fate, StoreError> {
        self.script.changes_begun.send_modify(|changes| *changes += 1);
        open(&self.script.changes_held).await;
        take_steps(&self.script.change_steps).await;
        let fate = *self.script.fate.lock().unwrap();
        if fate == Fate::Down {
            return Err(StoreError::unavailable("a test said so"));
        }
        Ok(fate)
    }

    /// How a change ends that was made, or that has only decided.
    async fn end<T>(&self, fate: Fate, made: Option<T>) -> Result<T, StoreError> {
        if matches!(fate, Fate::LostBefore | Fate::PanicBefore) {
            self.script.late.forget();
        }
        take_steps(&self.script.change_steps).await;
        if matches!(fate, Fate::PanicBefore | Fate::PanicBehind) {
            std::panic::resume_unwind(Box::new("a test said so"));
        }
        let is_lost = fate == Fate::LostBehind || self.script.answers_lost.load(Ordering::SeqCst);
        made.filter(|_| !is_lost).ok_or_else(|| StoreError::other("the connection broke"))
    }
}

impl Fate {
    fn makes(self) -> bool {
        matches!(self, Self::Made | Self::LostBehind | Self::PanicBehind)
    }
}

/// A read that is under way, counted until it is dropped.
struct Flying<'a>(&'a Script);

impl<'a> Flying<'a> {
    fn take_off(script: &'a Script) -> Self {
        let now = script.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        script.peak.fetch_max(now, Ordering::SeqCst);
        Self(script)
    }
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn open(gate: &watch::Sender<bool>) {
    gate.subscribe().wait_for(|held| !held).await.expect("the store holds the sender");
}

async fn take_steps(steps: &AtomicUsize) {
    for _ in 0..steps.load(Ordering::SeqCst) {
        super::step().await;
    }
}

impl KeyStore for Scripted {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.rows.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        let _flying = self.before_read(&[digest]).await?;
        let found = self.rows.find(digest).await;
        take_steps(&self.script.answer_steps).await;
        open(&self.script.answers_held).await;
        found
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        let _flying = self.before_read(digests).await?;
        let found = self.rows.find_many(digests).await;
        take_steps(&self.script.answer_steps).await;
        open(&self.script.answers_held).await;
        found
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        if self.script.failing.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("a test said so"));
        }
        self.script.uses.lock().unwrap().extend_from_slice(uses);
        self.rows.record_uses(uses).await
    }
}

impl KeyRepository for Scripted {
    fn capabilities(&self) -> Capabilities {
        self.rows.capabilities()
    }

    async fn insert(
        &self,
        key: ApiKey,
        owner: Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        let (fate, late) = (self.begin().await?, &self.script.late);
        let made = if fate.makes() {
            let made = self.rows.insert(key, owner, caller, judge).await?;
            late.wrote([Row::Key(made.id())]);
            Some(made)
        } else {
            late.insert(&self.rows, key, owner, caller, judge).await?;
            None
        };
        self.end(fate, made).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        self.rows.get(id).await
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        let (mut fate, late) = (self.begin().await?, &self.script.late);
        if ids.iter().any(|id| *self.script.stuck.lock().unwrap() == Some(*id)) {
            fate = Fate::LostBefore;
        }
        let made = if fate.makes() {
            let made = self.rows.change(ids, caller, plan).await?;
            late.wrote(made.iter().map(Record::id).map(Row::Key));
            Some(made)
        } else {
            late.change(&self.rows, ids, caller, plan).await?;
            None
        };
        self.end(fate, made).await
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        self.rows.list(query).await
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        self.rows.owner(id).await
    }

    async fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        let (fate, late) = (self.begin().await?, &self.script.late);
        let made = if fate.makes() {
            let made = self.rows.change_owner(id, caller, edit).await?;
            late.wrote([Row::Owner(id.clone())]);
            Some(made)
        } else {
            late.change_owner(&self.rows, id, caller, edit).await?;
            None
        };
        self.end(fate, made).await
    }
}

#[tokio::test]
async fn a_held_read_is_counted_and_answers_once_it_is_released() {
    let store = Scripted::new();
    let key = super::issue(&store, super::TOKEN).await;
    store.hold();
    let reader = store.clone();
    let read = tokio::spawn(async move { reader.find(*key.digest()).await });
    store.begun(1).await;
    assert!(!read.is_finished());
    store.release();
    assert!(read.await.unwrap().unwrap().is_some());
    store.fail(true);
    assert!(store.find(super::digest(&store, "other")).await.unwrap_err().is_unavailable());
    assert_eq!(store.reads(), 2);
}
