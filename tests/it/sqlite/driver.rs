//! I5: every way in which the driver of a SQLite database's feed can end or stand still.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join;
use tower_token_auth::{
    Owner, RejectionKind, SqliteFeed, SqliteStore,
    store::{Heard, RevocationFeed, StoreError},
    testing::ManualClock,
};

use super::{
    Database,
    losses::{BOUND, SWITCH_OFF, Setup},
};
use crate::support::{issue_with, long_ago};

/// A change of which the log has lost every trace, so that no look finds it.
fn switch_off_without_a_trace() -> String {
    let forget =
        "DELETE FROM token_auth_changes WHERE id = (SELECT max(id) FROM token_auth_changes)";
    let number = "UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM token_auth_changes) \
                  WHERE name = 'token_auth_changes'";
    format!("UPDATE token_auth_keys SET is_active = 0 WHERE owner_id = 'ada'; {forget}; {number}")
}

/// The machine was suspended: its calendar went on, and its monotonic clock stood still. Whatever happened
/// meanwhile is no longer told, or never was: all that is cached goes, and the feed listens anew.
///
/// Seen to fail with neither the look at the clocks in `attend` nor the one in `Cache::notice_clock_jump`
/// (still admitted), and, at the word on the feed, without the former.
#[tokio::test]
async fn the_machine_was_suspended() {
    let clock = ManualClock::at(long_ago());
    let database = Database::new();
    let store = SqliteStore::open(&database.path).await.unwrap();
    let setup = Setup::with(database, store, |builder| builder.clock(clock.clone())).await;
    let bob = Owner::staff("bob");
    issue_with(&setup.store, "witness", bob, |key| key).await;
    assert!(setup.auth.authenticate("witness").await.is_ok());
    setup.asleep(&switch_off_without_a_trace());
    // The control: the feed has looked, as it tells of what came later, and has nothing to say.
    setup.asleep("UPDATE token_auth_keys SET is_active = 0 WHERE owner_id = 'bob'");
    let looked = async {
        while setup.auth.authenticate("witness").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, looked).await.expect("the change is told");
    assert!(setup.auth.authenticate("t").await.is_ok(), "nobody can know by now");

    clock.step_wall(chrono::Duration::milliseconds(2_100));
    let noticed = async {
        while !setup.auth.feed_health().to_string().contains("suspended") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let refused = setup.is_refused_as(RejectionKind::KeyInactive);
    let (waited, ()) = join(tokio::time::timeout(BOUND, noticed), refused).await;
    assert!(waited.is_ok(), "the feed is {}", setup.auth.feed_health());
    setup.is_healthy().await;
    setup.tells_again().await;
}

/// The driver is aborted with its runtime. The lease and the short TTL bound what it missed, and the
/// next one listens anew.
///
/// Seen to fail with an end of the driver that leaves `is_working` on, and with one that does not give the
/// feed back (the feed is never healthy again).
#[test]
fn the_driver_was_aborted() {
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().unwrap()
    };
    let clock = ManualClock::at(long_ago());
    let first = runtime();
    let setup = first.block_on(async {
        let database = Database::new();
        let store = SqliteStore::open(&database.path).await.unwrap();
        Setup::with(database, store, |builder| builder.clock(clock.clone())).await
    });
    drop(first);
    setup.asleep(SWITCH_OFF);
    clock.advance(Duration::from_secs(10));
    runtime().block_on(async {
        setup.is_refused_as(RejectionKind::KeyInactive).await;
        setup.is_healthy().await;
        setup.tells_again().await;
    });
}

/// A feed of a SQLite database that panics when it is told to, silently as it does not pass the panic hook.
struct Panicking {
    feed: SqliteFeed,
    panics: Arc<AtomicBool>,
}

impl RevocationFeed for Panicking {
    async fn listen(&mut self) -> Result<(), StoreError> {
        self.feed.listen().await
    }

    async fn probe(&mut self, nonce: u64) -> Result<(), StoreError> {
        self.feed.probe(nonce).await
    }

    async fn next(&mut self) -> Result<Heard, StoreError> {
        let heard = self.feed.next().await;
        if self.panics.swap(false, Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("a test said so"));
        }
        heard
    }
}

/// The driver panics with a change in its hands. The lease and the short TTL bound what it missed, and after
/// a rest the next one listens anew.
///
/// Seen to fail with an end of the driver that leaves `is_working` on, and with one that does not give the
/// feed back (the feed is never healthy again).
#[tokio::test]
async fn the_driver_panicked() {
    let clock = ManualClock::at(long_ago());
    let (database, panics) = (Database::new(), Arc::new(AtomicBool::new(false)));
    let store = SqliteStore::open(&database.path).await.unwrap();
    let feed = Panicking { feed: store.feed(), panics: Arc::clone(&panics) };
    let setup =
        Setup::with(database, store, |builder| builder.clock(clock.clone()).feed(feed)).await;
    panics.store(true, Ordering::SeqCst);
    setup.asleep(SWITCH_OFF);
    let panicked = async {
        while panics.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(BOUND, panicked).await.expect("it hears of the change");
    assert!(setup.auth.authenticate("t").await.is_ok(), "nobody was told");
    clock.advance(Duration::from_secs(10));
    setup.is_refused_as(RejectionKind::KeyInactive).await;
    setup.is_healthy().await;
    setup.tells_again().await;
}
