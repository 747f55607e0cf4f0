//! Two processes on one SQLite file: what one revokes, the other refuses, and neither locks the other
//! out.

use std::time::Duration;

use tempfile::TempDir;
use tower_token_auth::{Authenticator, SqliteStore};

use crate::support::{
    other::{self, Other},
    revocations, rounds,
};

const OTHER: [&str; 3] = ["--exact", "two_processes::the_other_process", "--nocapture"];

/// Not a test: what the other process runs, which is this program as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_process() {
    other::serve().await;
}

async fn healthy(store: &SqliteStore, fresh_ttl: Duration) -> Authenticator {
    let builder = Authenticator::builder(store.clone()).feed(store.feed());
    let (auth, _guard) = builder.fresh_ttl(fresh_ttl).build().unwrap();
    revocations::healthy(&auth).await;
    auth
}

/// I4 with a feed that works: 1,000 revocations by the other one's manager and 1,000 by raw SQL with
/// `TOKEN_AUTH_FULL=1`, otherwise 60 of each, of every kind that there is. None is admitted beyond a
/// second, although its fresh TTL is an hour.
///
/// Seen to fail with a driver that does not outdate what it hears of (every one of them), and without the
/// trigger `keys_changed` (those of its kinds).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_revokes_is_refused_within_a_second() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let auth = healthy(&store, Duration::from_secs(3_600)).await;
    let mut other = Other::start(&OTHER, &path).await;
    let count = rounds(60, 1_000);
    let outcome = revocations::measure(&auth, &store, &mut other, count).await;
    println!(
        "{count} of 1000 revocations each, made by another process, admitted behind its commit for"
    );
    println!("  by its manager, {}", outcome.managed);
    println!("  by raw SQL, {}", outcome.by_sql);
    assert_eq!(outcome.missed, Vec::<String>::new());
    assert!(auth.feed_health().is_healthy());
}

/// Both write as fast as they can, by every kind of change and with their recorders beside it. The
/// busy timeout of five seconds covers whatever one has to wait for the other.
///
/// Seen to fail with a busy timeout of zero, and with a plain `BEGIN`, which asks for the lock too late: a
/// caller heard that the database was locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_two_processes_lock_nobody_out() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let auth = healthy(&store, Duration::from_secs(10)).await;
    let mut other = Other::start(&OTHER, &path).await;
    let count = rounds(25, 250);
    other.begin(&format!("work {count}")).await;
    let ours = other::work(&auth, count).await;
    let theirs = other.answer().await;
    assert_eq!((ours, theirs), (Ok(()), Ok(())));
    println!("2 processes, 4 tasks each, {count} of 250 rounds of five changes: no error");
}
