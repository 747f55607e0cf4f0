//! Behind PgBouncer in transaction mode, where each transaction may meet another server.

use std::{env, time::Duration};

use sqlx::PgPool;
use tower_token_auth::{
    Authenticator, AuthenticatorBuilder, FeedHealth, KeyId, Owner, PostgresOptions, PostgresStore,
    RejectionKind, Subject,
    store::{Heard, KeyRepository as _, KeyStore as _, KeyUse, RevocationFeed as _},
};

use super::{Database, digest_of, issue, key_of};

/// Long enough that a test which waits for it has failed.
const FOREVER: Duration = Duration::from_secs(30);

/// A schema of its own behind the pooler.
struct Pooled {
    database: Database,
    /// The pooler's; the database has the server's own.
    url: String,
}

impl Pooled {
    /// `None`, and a line that says so, where no pooler was named.
    fn new() -> Option<Self> {
        let Ok(url) = env::var("TEST_POOLER_URL") else {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            println!("SKIPPED {test}: TEST_POOLER_URL names no pooler");
            return None;
        };
        Some(Self { database: Database::new()?, url })
    }

    fn options(&self) -> PostgresOptions {
        self.database.options().transaction_pooler(true)
    }

    async fn open(&self) -> PostgresStore {
        self.options().open(&self.url).await.unwrap()
    }
}

/// Until the feed of `node` is as it should be.
async fn until(node: &Authenticator, is_so: impl Fn(&FeedHealth) -> bool) -> FeedHealth {
    let reached = async {
        loop {
            let health = node.feed_health();
            if is_so(&health) {
                return health;
            }
            tokio::task::yield_now().await;
        }
    };
    let reached = tokio::time::timeout(FOREVER, reached).await;
    reached.unwrap_or_else(|_| panic!("the feed is {}", node.feed_health()))
}

fn node(builder: AuthenticatorBuilder) -> Authenticator {
    builder.build().unwrap().0
}

/// Who does not know what stands there is told, and where to say it.
#[tokio::test]
async fn without_the_setting_it_is_told() {
    let Some(pooled) = Pooled::new() else { return };
    let opened = pooled.database.options().open(&pooled.url).await;
    let error = opened.expect_err("the pooler takes no options").to_string();
    assert!(error.contains("`PostgresOptions::transaction_pooler`"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[cfg(feature = "test-util")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_conforms() {
    let Some(first) = Pooled::new() else { return };
    let databases = std::sync::Mutex::new(vec![first]);
    tower_token_auth::store::conformance::key_repository(async || {
        let pooled = Pooled::new().expect("there was one before");
        let store = pooled.open().await;
        databases.lock().unwrap().push(pooled);
        store
    })
    .await;
}

/// Many at once on few servers, so that each of them is another one's a moment later: every read, change
/// and last use is whole. With a pool of the user's as with ours.
///
/// Seen to fail with reads outside transactions, in both pools, and with statements kept prepared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_server_a_transaction_meets_it_is_whole() {
    let Some(pooled) = Pooled::new() else { return };
    let ours = pooled.options().max_connections(16).open(&pooled.url).await.unwrap();
    let pool = PgPool::connect(&pooled.url).await.unwrap();
    let theirs = pooled.options().from_pool(pool.clone()).await.unwrap();
    for (name, store) in [("ours", ours), ("theirs", theirs)] {
        let task = |number: usize| {
            let (store, token) = (store.clone(), format!("{name} {number}"));
            tokio::spawn(async move {
                let key = issue(&store, &token).await;
                let digest = digest_of(&token);
                for round in 0..20 {
                    let found = store.find(digest).await.unwrap().expect("it is there");
                    assert_eq!((found.id(), found.owner().accounts().len()), (key.id(), 2));
                    let both = [digest, digest_of("nobody's")];
                    assert_eq!(store.find_many(&both).await.unwrap().len(), 1);
                    let at = key.created_at() + chrono::TimeDelta::seconds(round + 1);
                    let key_use = KeyUse { key: key.id(), digest, at, if_before: at };
                    assert_eq!(store.record_uses(&[key_use]).await.unwrap(), 1);
                }
                crate::support::remove(&store, key.id()).await.unwrap();
                assert!(store.find(digest).await.unwrap().is_none());
            })
        };
        let tasks: Vec<_> = (0..12).map(task).collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    pool.close().await;
}

/// A change that another node makes behind the pooler, and a heartbeat behind it, both heard past it; and
/// what the other node then decides.
///
/// Seen to fail with `listen_at` without effect: a change behind the pooler is then handed a notification
/// in the place of its answer.
#[tokio::test]
async fn a_feed_that_listens_past_it_hears() {
    let Some(pooled) = Pooled::new() else { return };
    let store = pooled.open().await;
    let id = issue(&store, "t").await.id();
    let here = node(Authenticator::builder(store)).keys();
    let store = pooled.open().await;
    let past_it = || store.feed().listen_at(&pooled.database.url).unwrap();
    let there = node(Authenticator::builder(store.clone()).feed(past_it()));
    let mut feed = past_it();
    feed.listen().await.unwrap();
    until(&there, FeedHealth::is_healthy).await;
    assert_eq!(there.authenticate("t").await.unwrap().id(), id);
    here.deactivate(id).await.unwrap();
    feed.probe(7).await.unwrap();
    for expected in [Heard::Revoked(vec![Subject::Key(id)]), Heard::Alive(7)] {
        let heard = tokio::time::timeout(FOREVER, feed.next()).await;
        assert_eq!(heard.expect("it is heard").unwrap(), expected);
    }
    let refused = async {
        loop {
            match there.authenticate("t").await {
                Err(refusal) if refusal.kind() == RejectionKind::KeyInactive => return,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    // Ten seconds is what is promised if the feed does not work.
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, refused).await.expect("it is refused");
}

/// One that was shown no way past it says so, and the node serves under the short TTL.
///
/// Seen to fail without the look at `is_pooled` in `Ear::open`: it then counts as healthy until it misses
/// its first heartbeat, which other clients of the pooler are given.
#[tokio::test]
async fn a_feed_without_a_way_past_it_stays_unhealthy_and_says_so() {
    let Some(pooled) = Pooled::new() else { return };
    let store = pooled.open().await;
    let key = store.insert(key_of("t"), Owner::staff("ada"), None, &mut |_, _| true).await.unwrap();
    let feed = store.feed();
    let node = node(Authenticator::builder(store).feed(feed));
    let health = until(&node, |health| *health != FeedHealth::Starting).await;
    let FeedHealth::Unhealthy { reason, .. } = health else { panic!("{health}") };
    assert!(reason.contains("`PostgresFeed::listen_at`"), "{reason}");
    let admitted: KeyId = node.authenticate("t").await.unwrap().id();
    assert_eq!(admitted, key.id());
    assert!(!node.feed_health().is_healthy());
}
