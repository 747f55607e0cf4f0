//! Expired keys are deleted in the background, if that is asked for.

use tokio::runtime::Handle;
use tower_token_auth::{ApiKey, KeyFilter, Owner};

use super::{Duration, HOUR, RejectionKind, Scene, TimeDelta, idle, issue_with, start};
use crate::support::stores::{Setup, on_each, whole};

const DAY: Duration = Duration::from_secs(86_400);

/// Off by default; asked for, it deletes what has expired two minutes ago, at once and then at
/// intervals, and leaves the rest.
///
/// Seen to fail without `Sweeper::rouse`, and without its rest.
#[tokio::test(start_paused = true)]
async fn expired_keys_go_if_that_is_asked_for() {
    for is_on in [false, true] {
        let s = Scene::with(
            HOUR,
            |builder| {
                if is_on { builder.delete_expired_every(DAY) } else { builder }
            },
        );
        let s = s.await;
        let expired = |secs: i64| {
            let at = start() - TimeDelta::seconds(secs);
            move |key: ApiKey| key.with_expires_at(Some(at))
        };
        let ada = || Owner::staff("ada");
        issue_with(s.store.rows(), "old", ada(), expired(121)).await;
        issue_with(s.store.rows(), "recent", ada(), expired(119)).await;
        let left = async || s.auth.keys().list(KeyFilter::all(), Default::default()).await.unwrap();
        idle().await;
        assert_eq!(left().await.keys.len(), 3, "nobody has asked yet");
        s.ask().await.unwrap();
        idle().await;
        assert_eq!(left().await.keys.len(), if is_on { 2 } else { 3 });
        // The key that is in use goes on, and the other one goes at the next interval.
        s.pass(DAY / 2).await;
        assert_eq!(s.ask().await, Err(RejectionKind::Expired));
        assert_eq!(left().await.keys.len(), if is_on { 2 } else { 3 }, "not before the interval");
        s.pass(DAY / 2).await;
        assert_eq!(left().await.keys.len(), if is_on { 0 } else { 3 });
    }
}

/// It holds nothing while it waits, and is gone with the authenticator.
///
/// Seen to fail with a task that holds the authenticator while it sleeps, and without `Sweeper::close`.
#[tokio::test(start_paused = true)]
async fn it_ends_with_the_authenticator() {
    let s = Scene::with(HOUR, |builder| builder.delete_expired_every(DAY)).await;
    s.ask().await.unwrap();
    idle().await;
    let store = s.store.clone();
    drop(s);
    // What publishes metrics looks once a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(store.holders(), 1);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

/// On the stores that people have.
#[tokio::test]
async fn every_store_is_swept() {
    on_each(whole().await, async |setup: &Setup| {
        let key = |key: ApiKey| key.with_expires_at(Some(start() - TimeDelta::days(1)));
        let key = issue_with(&setup.rows, "gone", Owner::staff("ada"), key).await;
        let (auth, _guard) = setup.builder().delete_expired_every(DAY).build().unwrap();
        auth.authenticate("gone").await.unwrap_err();
        while setup.stored(key.id()).await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(auth);
    })
    .await;
}
