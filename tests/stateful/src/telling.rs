//! A store that tells of its changes, as one with triggers does, and how a process hears of them.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, Owner, OwnerId, Record, Subject, TokenDigest,
    store::{
        Capabilities, ChannelFeed, Family, Heard, InsertJudge, KeyPlan, KeyQuery, KeyRepository,
        KeyStore, KeyUse, KeyWrite, OwnerEdit, RevocationChannel, RevocationFeed, StoreError,
    },
};

/// What a feed may be behind by. More than one change ever tells.
const CAPACITY: usize = 1_024;

/// A store and the channel that all its changes are told on; of one process, and so with its line.
#[derive(Clone)]
pub struct Telling<S> {
    inner: S,
    channel: RevocationChannel,
    line: Arc<Line>,
}

impl<S: Clone> Telling<S> {
    /// The store as two processes have it.
    pub fn twice(inner: S) -> [Self; 2] {
        let channel = RevocationChannel::new(CAPACITY);
        [(); 2].map(|()| Self {
            inner: inner.clone(),
            channel: channel.clone(),
            line: Arc::default(),
        })
    }

    /// What this process hears by.
    pub fn ear(&self) -> Ear {
        Ear { feed: self.channel.feed(), line: Arc::clone(&self.line) }
    }

    pub fn line(&self) -> &Arc<Line> {
        &self.line
    }
}

impl<S> Telling<S> {
    fn tell(&self, subjects: impl IntoIterator<Item = Subject>) {
        subjects.into_iter().for_each(|subject| self.channel.revoke(subject));
    }
}

fn of_new(key: &ApiKey) -> Vec<Subject> {
    vec![Subject::Key(key.id()), Subject::Digest(*key.digest())]
}

fn of_write(write: &KeyWrite) -> Vec<Subject> {
    match write {
        KeyWrite::Insert(key) => of_new(key),
        KeyWrite::Update(key) => vec![Subject::Key(key.id())],
        KeyWrite::Delete(id) => vec![Subject::Key(*id)],
        _ => Vec::new(),
    }
}

/// What lies between the channel and a process.
#[derive(Default)]
pub struct Line {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Whole,
    /// Whoever listens is told that it broke.
    Cut,
    /// Nothing comes through, and nobody is told.
    Silent,
}

impl Line {
    pub fn cut(&self, silently: bool) {
        self.becomes(if silently { State::Silent } else { State::Cut });
    }

    pub fn mend(&self) {
        self.becomes(State::Whole);
    }

    pub fn is_whole(&self) -> bool {
        self.state() == State::Whole
    }

    pub fn is_silent(&self) -> bool {
        self.state() == State::Silent
    }

    fn becomes(&self, state: State) {
        *self.state.lock().unwrap() = state;
        self.changed.notify_waiters();
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap()
    }
}

/// A process' feed.
pub struct Ear {
    feed: ChannelFeed,
    line: Arc<Line>,
}

fn broken() -> StoreError {
    StoreError::unavailable("the line is cut")
}

impl RevocationFeed for Ear {
    async fn listen(&mut self) -> Result<(), StoreError> {
        if self.line.is_whole() { self.feed.listen().await } else { Err(broken()) }
    }

    async fn probe(&mut self, nonce: u64) -> Result<(), StoreError> {
        self.feed.probe(nonce).await
    }

    async fn next(&mut self) -> Result<Heard, StoreError> {
        loop {
            let changed = self.line.changed.notified();
            match self.line.state() {
                State::Cut => return Err(broken()),
                State::Silent => changed.await,
                State::Whole => tokio::select! {
                    heard = self.feed.next() => return heard,
                    () = changed => {}
                },
            }
        }
    }
}

impl<S: KeyRepository> KeyStore for Telling<S> {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.inner.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        self.inner.find(digest).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.inner.find_many(digests).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        self.inner.record_uses(uses).await
    }
}

impl<S: KeyRepository> KeyRepository for Telling<S> {
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
        let subjects = of_new(&key);
        let record = self.inner.insert(key, owner, caller, judge).await?;
        self.tell(subjects);
        Ok(record)
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        self.inner.get(id).await
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        let mut subjects = Vec::new();
        let mut plan = |family: &Family| {
            let writes = plan(family)?;
            subjects.extend(writes.iter().flat_map(of_write));
            Some(writes)
        };
        let written = self.inner.change(ids, caller, &mut plan).await?;
        self.tell(subjects);
        Ok(written)
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        self.inner.list(query).await
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        self.inner.owner(id).await
    }

    async fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        let owner = self.inner.change_owner(id, caller, edit).await?;
        self.tell([Subject::Owner(id.clone())]);
        Ok(owner)
    }
}
