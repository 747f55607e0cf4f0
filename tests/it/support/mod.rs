//! What several subjects need: a store that can be scripted, and keys put straight into a store.
#![allow(
    dead_code,
    unused_imports,
    reason = "a build with few features leaves some helpers unused"
)]

pub(crate) mod django;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
pub(crate) mod fleet;
#[cfg(feature = "postgres")]
pub(crate) mod gate;
pub(crate) mod http;
mod late;
mod line;
#[cfg(feature = "sqlite")]
pub(crate) mod other;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "postgres")]
pub(crate) mod proxy;
#[cfg(feature = "test-util")]
mod quirky;
pub(crate) mod raw;
#[cfg(feature = "sqlite")]
pub(crate) mod revocations;
pub(crate) mod scrape;
mod scripted;
#[cfg(feature = "postgres")]
pub(crate) mod server;
#[cfg(feature = "sqlite")]
pub(crate) mod shell;
#[cfg(feature = "knox")]
pub(crate) mod site;
#[cfg(feature = "test-util")]
pub(crate) mod stores;
#[cfg(any(feature = "postgres", feature = "knox"))]
pub(crate) mod told;
pub(crate) mod wire;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tower_token_auth::{
    ApiKey, AuthenticatedKey, Authenticator, KeyId, Owner, OwnerId, Record, Rejection, Token,
    TokenDigest,
    store::{Family, KeyRepository, KeyWrite, StoreError},
};

pub(crate) use line::{Line, Mood, line};
#[cfg(feature = "test-util")]
pub(crate) use quirky::Quirky;
pub(crate) use scripted::{Fate, Fault, Scripted};

/// What an authentication ends in.
pub(crate) type Decision = Result<AuthenticatedKey, Rejection>;

/// A token that [`issue`] takes where a test has no wish of its own.
pub(crate) const TOKEN: &str = "s3cret-token-of-the-tests";

/// Puts an active key named `key` for `token` into the store; its owner is the active staff
/// owner `ada`.
pub(crate) async fn issue(store: &impl KeyRepository, token: &str) -> ApiKey {
    issue_with(store, token, Owner::staff("ada"), |key| key).await
}

/// Puts a key for `token` into the store, after `edit` changed it. The owner's row is made if
/// there is none; no policy judges it.
pub(crate) async fn issue_with(
    store: &impl KeyRepository,
    token: &str,
    owner: Owner,
    edit: impl FnOnce(ApiKey) -> ApiKey,
) -> ApiKey {
    let key = ApiKey::new(KeyId::random(), digest(store, token), owner.id().clone(), long_ago())
        .with_token_key(Token::parse(token).expect("a test's token").token_key())
        .with_name("key");
    let record =
        store.insert(edit(key), owner, None, &mut |_, _| true).await.expect("a fresh token");
    record.key().clone()
}

/// Changes a key in the store itself, behind every manager's back.
pub(crate) async fn edit(
    store: &impl KeyRepository,
    id: KeyId,
    mut edit: impl FnMut(&Record) -> Option<ApiKey> + Send,
) -> Result<Record, StoreError> {
    let mut plan = |family: &Family| Some(vec![KeyWrite::Update(edit(&family.key)?)]);
    store.change(&[id], None, &mut plan).await.map(|mut written| written.remove(0))
}

/// Deletes a key from the store itself.
pub(crate) async fn remove(store: &impl KeyRepository, id: KeyId) -> Result<Record, StoreError> {
    let mut plan = |family: &Family| Some(vec![KeyWrite::Delete(family.key.id())]);
    store.change(&[id], None, &mut plan).await.map(|mut written| written.remove(0))
}

/// Changes an owner in the store itself.
pub(crate) async fn edit_owner(
    store: &impl KeyRepository,
    id: &OwnerId,
    mut edit: impl FnMut(&Owner) -> Option<Owner> + Send,
) -> Result<Owner, StoreError> {
    let mut decide = |stored: Option<&Owner>, _: Option<&Owner>| edit(stored?);
    store.change_owner(id, None, &mut decide).await
}

/// The digest by which `store` knows `token`.
pub(crate) fn digest(store: &impl KeyRepository, token: &str) -> TokenDigest {
    TokenDigest::of(store.digest_algorithm(), token)
}

/// An authenticator over `store` with every default. Its recorder is detached.
pub(crate) fn authenticator(store: impl KeyRepository) -> Authenticator {
    let (auth, _guard) = Authenticator::builder(store).build().expect("the defaults are sound");
    auth
}

/// An authenticator over a scripted store that holds [`TOKEN`].
pub(crate) async fn scripted() -> (Authenticator, Scripted) {
    let store = Scripted::new();
    issue(&store, TOKEN).await;
    (authenticator(store.clone()), store)
}

/// A fixed moment in the past.
pub(crate) fn long_ago() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a date of this century")
}

/// Asks on a task of its own.
pub(crate) fn ask(
    auth: &Authenticator,
    token: impl Into<String>,
) -> tokio::task::JoinHandle<Decision> {
    let (auth, token) = (auth.clone(), token.into());
    tokio::spawn(async move { auth.authenticate(&token).await })
}

/// Lets every other task of a current-thread runtime run until none can go on without a timer or
/// this one; no time passes.
pub(crate) async fn idle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// A test that waits for longer has failed: no pause and no timeout of the crate is as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for what must come, and panics with `seen` if it does not. Without a runtime it waits for ever.
pub(crate) async fn patiently<F: Future>(awaited: F, seen: impl FnOnce() -> String) -> F::Output {
    if tokio::runtime::Handle::try_current().is_err() {
        return awaited.await;
    }
    let waited = tokio::time::timeout(PATIENCE, awaited).await;
    waited.unwrap_or_else(|_| panic!("waited in vain: {}", seen()))
}

/// Is pending once.
pub(crate) async fn step() {
    let mut stepped = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls at most `times` times.
pub(crate) async fn poll_times<F: Future>(
    mut future: Pin<&mut F>,
    times: usize,
) -> Option<F::Output> {
    for _ in 0..times {
        let polled = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        // What the future waits for may be on this very thread.
        idle_anywhere().await;
    }
    None
}

async fn idle_anywhere() {
    if tokio::runtime::Handle::try_current().is_ok() {
        idle().await;
    }
}

/// Runs a future on this thread without any runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// How often to repeat: `all` with `TOKEN_AUTH_FULL=1` in the environment, otherwise the `share`
/// that a continuous build can afford.
pub(crate) fn rounds(share: usize, all: usize) -> usize {
    if std::env::var_os("TOKEN_AUTH_FULL").is_some_and(|value| value == "1") { all } else { share }
}

/// SplitMix64: the same draws at every run, so that a seed that failed fails again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to `end`, and not that.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^= word >> 31;
        usize::try_from((u128::from(word) * end as u128) >> 64).expect("it is below a usize")
    }
}
