//! The access recorder through the authenticator: what I16 promises. Its parts are tested beside it.

mod forward;
#[cfg(all(feature = "sqlite", feature = "tracing"))]
mod read_only;
mod replaced;
mod window;

use std::{
    future,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{sync::watch, time};
use tower_token_auth::{
    Authenticator, AuthenticatorBuilder, DigestAlgorithm, Guard, KeyId, KeyManager, LastUsed,
    MemoryStore, NewKey, Owner, Record, Token, TokenDigest,
    store::{KeyStore, KeyUse, StoreError},
    testing::ManualClock,
};

#[derive(Clone, Copy)]
enum Mood {
    Writes,
    /// Until the mood is another one.
    Waits,
    Hangs,
    Refuses,
}

/// Reads from memory; what becomes of a write is told by its mood. Read only, so that its
/// authenticator stands apart from the one that manages the same rows.
#[derive(Clone)]
struct Desk {
    rows: MemoryStore,
    mood: Arc<watch::Sender<Mood>>,
    asked: Arc<watch::Sender<usize>>,
    book: Arc<Mutex<Book>>,
    /// Reads that have looked, and whether they may answer.
    looked: Arc<watch::Sender<usize>>,
    may_answer: Arc<watch::Sender<bool>>,
}

/// What was asked of the desk, and what came of it.
#[derive(Default)]
struct Book {
    uses: Vec<KeyUse>,
    rows_written: u64,
}

impl Desk {
    fn over(rows: MemoryStore, mood: Mood) -> Self {
        Self {
            rows,
            mood: Arc::new(watch::Sender::new(mood)),
            asked: Arc::default(),
            book: Arc::default(),
            looked: Arc::default(),
            may_answer: Arc::new(watch::Sender::new(true)),
        }
    }

    fn becomes(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// How many uses were handed over, and how many rows were written for them.
    fn uses_and_rows(&self) -> (usize, u64) {
        let book = self.book.lock().unwrap();
        (book.uses.len(), book.rows_written)
    }
}

impl KeyStore for Desk {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.rows.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        let found = self.rows.find(digest).await;
        self.looked.send_modify(|looked| *looked += 1);
        self.may_answer.subscribe().wait_for(|may| *may).await.unwrap();
        found
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.rows.find_many(digests).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        self.asked.send_modify(|asked| *asked += 1);
        self.book.lock().unwrap().uses.extend_from_slice(uses);
        let mut mood = self.mood.subscribe();
        let mood = *mood.wait_for(|mood| !matches!(mood, Mood::Waits)).await.unwrap();
        match mood {
            Mood::Refuses => Err(StoreError::unsupported("the file is read only")),
            Mood::Hangs => future::pending().await,
            Mood::Waits | Mood::Writes => {
                let rows = self.rows.record_uses(uses).await?;
                self.book.lock().unwrap().rows_written += rows;
                Ok(rows)
            }
        }
    }
}

struct Scene {
    auth: Authenticator,
    guard: Guard,
    keys: KeyManager,
    clock: ManualClock,
    desk: Desk,
}

impl Scene {
    fn new(mood: Mood, last_used: LastUsed) -> Self {
        Self::with(mood, |builder| builder.last_used(last_used))
    }

    fn with(mood: Mood, set: impl FnOnce(AuthenticatorBuilder) -> AuthenticatorBuilder) -> Self {
        let rows = MemoryStore::new();
        let clock = ManualClock::at(DateTime::<Utc>::UNIX_EPOCH + chrono::Duration::days(20_000));
        let managed = Authenticator::builder(rows.clone()).clock(clock.clone());
        let keys = managed.build().unwrap().0.keys();
        let desk = Desk::over(rows, mood);
        let builder = Authenticator::read_only(desk.clone()).clock(clock.clone());
        let (auth, guard) = set(builder).build().unwrap();
        Self { auth, guard, keys, clock, desk }
    }

    async fn asked_at_least(&self, times: usize) {
        let mut asked = self.desk.asked.subscribe();
        asked.wait_for(|asked| *asked >= times).await.unwrap();
    }

    async fn key(&self) -> (KeyId, Token) {
        let made = self.keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
        (made.0.id(), made.1)
    }

    async fn last_used_at(&self, id: KeyId) -> Option<DateTime<Utc>> {
        self.keys.get(id).await.unwrap().key().last_used_at()
    }
}

#[tokio::test(start_paused = true)]
async fn a_use_is_written_at_the_next_flush_and_again_after_a_window() {
    let s = Scene::new(Mood::Writes, LastUsed::default());
    let (id, token) = s.key().await;
    let first = s.clock.wall();
    s.auth.authenticate(token.expose()).await.unwrap();
    s.asked_at_least(1).await;
    assert_eq!(s.last_used_at(id).await, Some(first));
    s.clock.advance(Duration::from_secs(299));
    s.auth.authenticate(token.expose()).await.unwrap();
    time::sleep(Duration::from_secs(5)).await;
    assert_eq!(s.last_used_at(id).await, Some(first), "throttled");
    s.clock.advance(Duration::from_secs(2));
    let second = s.clock.wall();
    s.auth.authenticate(token.expose()).await.unwrap();
    s.asked_at_least(2).await;
    assert_eq!(s.last_used_at(id).await, Some(second));
}

// I16, first clause. Negative control: with `record_uses` awaited in `resolve` in place of the
// recorder, the hour passes.
#[tokio::test(start_paused = true)]
async fn i16_a_store_that_hangs_on_writing_delays_no_request() {
    let s = Scene::new(Mood::Hangs, LastUsed::default());
    let (_, token) = s.key().await;
    s.auth.authenticate(token.expose()).await.unwrap();
    s.asked_at_least(1).await;
    let requests = async {
        for _ in 0..10_000 {
            s.auth.authenticate(token.expose()).await.unwrap();
        }
    };
    let an_hour = Duration::from_secs(3600);
    time::timeout(an_hour, requests).await.expect("no request waits for a write");
}

// I16, second clause. Negative control: with `if_before` set to the end of time in the recorder, the
// calendar's step back reaches the row.
#[tokio::test(start_paused = true)]
async fn i16_the_stored_time_never_goes_back() {
    let s = Scene::new(Mood::Writes, LastUsed::default());
    let (id, token) = s.key().await;
    s.auth.authenticate(token.expose()).await.unwrap();
    // Another process was later than this one; this one's calendar is then set back by a day.
    let later = s.clock.wall() + chrono::Duration::minutes(10);
    let digest = *s.keys.get(id).await.unwrap().key().digest();
    let elsewhere = KeyUse { key: id, digest, at: later, if_before: later };
    assert_eq!(s.desk.rows.record_uses(&[elsewhere]).await.unwrap(), 1);
    s.asked_at_least(1).await;
    assert_eq!(s.last_used_at(id).await, Some(later));
    s.clock.step_wall(-chrono::Duration::days(1));
    s.clock.advance(Duration::from_secs(3600));
    s.auth.authenticate(token.expose()).await.unwrap();
    let _ = s.guard.shutdown(Duration::from_secs(5)).await;
    let stored = s.keys.get(id).await.unwrap();
    assert_eq!(stored.key().last_used_at(), Some(later));
}

// Negative control: with the drain taken out of `shutdown`, 1,000 are reported as unwritten.
#[tokio::test(start_paused = true)]
async fn a_clean_shutdown_loses_none() {
    let s = Scene::new(Mood::Writes, LastUsed::default());
    let mut ids = Vec::new();
    for _ in 0..1_000 {
        let (id, token) = s.key().await;
        s.auth.authenticate(token.expose()).await.unwrap();
        ids.push(id);
    }
    let report = s.guard.shutdown(Duration::from_secs(5)).await;
    assert_eq!((report.written(), report.unwritten(), report.lost()), (1_000, 0, 0));
    let line = "access recorder: 1000 written (1000 at shutdown), 0 unwritten";
    assert_eq!(report.to_string(), line);
    for id in ids {
        assert!(s.keys.get(id).await.unwrap().key().last_used_at().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_may_not_write_still_authenticates_and_is_asked_once() {
    let s = Scene::new(Mood::Refuses, LastUsed::default());
    for _ in 0..3 {
        let (_, token) = s.key().await;
        s.auth.authenticate(token.expose()).await.unwrap();
        s.asked_at_least(1).await;
        time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(*s.desk.asked.borrow(), 1);
    let report = s.guard.shutdown(Duration::from_secs(5)).await;
    assert!(report.to_string().contains("the store can't write last uses"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_asks_nothing_of_the_store() {
    let s = Scene::new(Mood::Writes, LastUsed::Off);
    let (id, token) = s.key().await;
    s.auth.authenticate(token.expose()).await.unwrap();
    time::sleep(Duration::from_secs(60)).await;
    assert_eq!((*s.desk.asked.borrow(), s.last_used_at(id).await), (0, None));
    let report = s.guard.shutdown(Duration::from_secs(5)).await;
    assert_eq!(report.to_string(), "access recorder: off, nothing was to be written");
}

#[test]
fn a_window_of_zero_is_refused_when_building() {
    let builder = Authenticator::builder(MemoryStore::new());
    let error = builder.last_used(LastUsed::Every(Duration::ZERO)).build().unwrap_err();
    assert!(error.to_string().contains("LastUsed::Off"), "{error}");
}

/// A folder for a database whose durability is not the subject: in memory, where there is room.
#[cfg(feature = "sqlite")]
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
