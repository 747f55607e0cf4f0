//! A renewal never revives or lengthens a key that was ended meanwhile, here or elsewhere.

use tower_token_auth::{MemoryStore, Rotation, Subject, store::KeyRepository};

use super::{
    ApiKey, Authenticator, Duration, HOUR, LastUsed, ManualClock, Owner, RejectionKind, SOON,
    Scene, SlidingExpiry, TTL, TimeDelta, after, beginnings, idle, issue_with, start,
};
use crate::support::{Fate, edit, edit_owner, remove, rounds};

/// A way to end a key, and what it is refused for afterwards.
#[derive(Clone, Copy, Debug)]
enum End {
    Expired,
    Deactivated,
    Deleted,
    OwnerDeactivated,
}

const ENDS: [End; 4] = [End::Expired, End::Deactivated, End::Deleted, End::OwnerDeactivated];

impl End {
    /// Behind every manager's back, as another process does.
    async fn of(self, store: &impl KeyRepository, key: &ApiKey) {
        match self {
            Self::Expired => {
                let past = start() - TimeDelta::seconds(1);
                let expired = |now: &tower_token_auth::Record| {
                    Some(now.key().clone().with_expires_at(Some(past)))
                };
                edit(store, key.id(), expired).await.map(drop)
            }
            Self::Deactivated => {
                edit(store, key.id(), |now| Some(now.key().clone().with_active(false)))
                    .await
                    .map(drop)
            }
            Self::Deleted => remove(store, key.id()).await.map(drop),
            Self::OwnerDeactivated => {
                let id = key.owner_id();
                edit_owner(store, id, |owner| Some(owner.clone().with_active(false)))
                    .await
                    .map(drop)
            }
        }
        .unwrap();
    }

    fn reason(self) -> RejectionKind {
        match self {
            Self::Expired => RejectionKind::Expired,
            Self::Deactivated => RejectionKind::KeyInactive,
            Self::Deleted => RejectionKind::Unknown,
            Self::OwnerDeactivated => RejectionKind::OwnerInactive,
        }
    }
}

/// A renewal waits to be written; the key is ended elsewhere, and nobody tells. Then the write finds out,
/// and what is cached goes with the renewal, although its fresh TTL is an hour.
///
/// Seen to fail, each for its own ending, without the comparison of the expiry that was read, without the
/// look at the flags, and (all of them) without the stamp in `Writer::overtaken`.
#[tokio::test(start_paused = true)]
async fn what_was_ended_elsewhere_stays_so() {
    for end in ENDS {
        let mut s = Scene::with(HOUR, |builder| builder.fresh_ttl(HOUR)).await;
        s.store.hold_changes();
        assert_eq!(s.ask().await, Ok(after(start(), TTL)));
        s.store.changes_begun(2).await;
        end.of(s.store.rows(), &s.key).await;
        let before = s.stored().await;
        s.store.release();
        idle().await;
        assert_eq!(s.ask().await, Err(end.reason()), "{end:?}");
        assert_eq!(s.stored().await, before, "{end:?}");
        assert_eq!(s.shutdown(SOON).await.unwritten_renewals(), 0, "{end:?}");
        assert_eq!(s.stored().await, before, "{end:?}");
    }
}

/// A revocation that was made here holds at once, whatever waits to be written; and what was waiting is
/// not written on what the revocation left, nor does it delay it.
///
/// Seen to fail without the look at the flags: it is written on an inactive key. That a renewed slot is
/// outdated as the one that was read is tested beside it.
#[tokio::test(start_paused = true)]
async fn a_local_revocation_holds_at_once() {
    for is_told_by_subject in [false, true] {
        let s = Scene::with(HOUR, |builder| builder.fresh_ttl(HOUR)).await;
        s.store.changes(Fate::Down);
        assert_eq!(s.ask().await, Ok(after(start(), TTL)));
        s.store.changes_begun(2).await;
        s.store.changes(Fate::Made);
        if is_told_by_subject {
            End::Deactivated.of(s.store.rows(), &s.key).await;
            s.auth.revoke(&Subject::Key(s.key.id()));
        } else {
            s.auth.keys().deactivate(s.key.id()).await.unwrap();
        }
        assert_eq!(s.ask().await, Err(RejectionKind::KeyInactive));
        s.pass(SOON).await;
        assert_eq!(s.ask().await, Err(RejectionKind::KeyInactive));
        assert_eq!(s.stored().await, s.key.expires_at());
    }
}

/// A key that was switched off and on again is renewed like any other.
///
/// Seen to fail with every refusal remembered for its expiry.
#[tokio::test(start_paused = true)]
async fn a_key_that_returns_is_renewed_again() {
    let s = Scene::new(HOUR).await;
    s.store.changes(Fate::Down);
    assert_eq!(s.ask().await, Ok(after(start(), TTL)));
    s.store.changes_begun(2).await;
    s.store.changes(Fate::Made);
    s.auth.keys().deactivate(s.key.id()).await.unwrap();
    s.pass(SOON).await;
    s.auth.keys().activate(s.key.id()).await.unwrap();
    let renewed = after(s.clock.wall(), TTL);
    assert_eq!(s.ask().await, Ok(renewed));
    idle().await;
    assert_eq!(s.stored().await, Some(renewed));
}

/// Two keys of one rotation: the old one's grace ends when it was to end, however often it is used
/// in it; and the store is asked about it once, whichever slot stands for it.
///
/// Seen to fail without the look at the successor (the old key lives on), and without the memory of what
/// was refused (the store is asked at every read).
#[tokio::test(start_paused = true)]
async fn a_grace_is_not_renewed() {
    let s = Scene::new(HOUR).await;
    let grace = Duration::from_secs(1_800);
    let rotation = Rotation::with_grace(grace);
    let (new, new_token) = s.auth.keys().rotate(s.key.id(), rotation).await.unwrap();
    assert_eq!(s.store.changes_begun_so_far(), 2);
    s.ask().await.unwrap();
    idle().await;
    for _ in 0..10 {
        assert_eq!(s.ask().await, Ok(after(start(), grace)));
        s.auth.flush();
        idle().await;
    }
    assert_eq!(s.store.changes_begun_so_far(), 3);
    let renewed = s.auth.authenticate(new_token.expose()).await.unwrap();
    assert_eq!(renewed.key().expires_at(), Some(after(start(), TTL)));
    s.pass(grace + Duration::from_micros(1)).await;
    assert_eq!(s.ask().await, Err(RejectionKind::Expired));
    let new = s.store.rows().get(new.id()).await.unwrap().unwrap();
    assert_eq!(new.key().expires_at(), Some(after(start(), TTL)));
}

/// Two processes, of which one has renewed a key that the other has in its cache: the other one's write
/// comes too late, and it goes by what is stored from then on. Neither ever refuses the key.
///
/// Seen to fail without the comparison of the expiry that was read, and without the stamp in
/// `Writer::overtaken`.
#[tokio::test(start_paused = true)]
async fn two_processes_renew_one_key() {
    let s = Scene::with(Duration::from_secs(600), |builder| builder.fresh_ttl(HOUR)).await;
    let (other, _guard) = beginnings(&s.store, &s.clock).fresh_ttl(HOUR).build().unwrap();
    let ask_other = async || {
        let admitted = other.authenticate(super::TOKEN).await;
        admitted.map(|key| key.key().expires_at().unwrap()).map_err(|refused| refused.kind())
    };
    s.store.changes(Fate::Down);
    s.ask().await.unwrap();
    s.store.changes_begun(2).await;
    s.clock.advance(Duration::from_secs(30));
    s.store.changes(Fate::Made);
    let renewed = after(s.clock.wall(), TTL);
    assert_eq!(ask_other().await, Ok(renewed));
    idle().await;
    assert_eq!(s.stored().await, Some(renewed));
    tokio::time::sleep(SOON).await;
    assert_eq!(s.ask().await, Ok(renewed), "it was read anew");
    s.clock.advance(Duration::from_secs(1_200));
    let again = after(s.clock.wall(), TTL);
    assert_eq!((s.ask().await, ask_other().await), (Ok(again), Ok(again)));
    idle().await;
    assert_eq!(s.stored().await, Some(again));
}

/// Rounds in which a key is renewed and ended at the same time, on threads of their own.
async fn race(name: &str, store: impl KeyRepository + Clone, rounds: usize) {
    let clock = ManualClock::at(start());
    let mut renewed = 0;
    for round in 0..rounds {
        let end = ENDS[round % ENDS.len()];
        let (token, owner) = (format!("race-{round}"), format!("owner-{round}"));
        let key = |key: ApiKey| key.with_expires_at(Some(after(start(), HOUR)));
        let key = issue_with(&store, &token, Owner::staff(owner.as_str()), key).await;
        let builder = Authenticator::builder(store.clone()).last_used(LastUsed::Off);
        let builder = builder.clock(clock.clone()).sliding_expiry(SlidingExpiry::of(TTL));
        let (auth, guard) = builder.build().unwrap();
        auth.authenticate(&token).await.unwrap();
        let ending = tokio::spawn({
            let (store, key) = (store.clone(), key.clone());
            async move { end.of(&store, &key).await }
        });
        guard.shutdown(SOON).await;
        ending.await.unwrap();
        let row = store.get(key.id()).await.unwrap();
        match end {
            End::Expired => {
                let expires_at = row.as_ref().unwrap().key().expires_at().unwrap();
                assert!(expires_at < start(), "{name}, round {round}: it was revived");
            }
            End::Deleted => assert!(row.is_none(), "{name}, round {round}: it came back"),
            End::Deactivated => assert!(!row.as_ref().unwrap().key().is_active(), "{name}"),
            End::OwnerDeactivated => assert!(!row.as_ref().unwrap().owner().is_active(), "{name}"),
        }
        if let (End::Deactivated | End::OwnerDeactivated, Some(row)) = (end, row) {
            renewed += usize::from(row.key().expires_at() != key.expires_at());
        }
        auth.flush();
        let refused = auth.authenticate(&token).await.unwrap_err();
        assert_eq!(refused.kind(), end.reason(), "{name}, round {round}");
    }
    println!("{name}: {rounds} rounds, of {} the renewal was first in {renewed}", rounds / 2);
}

/// Seen to fail, as the two below, without the comparison of the expiry that was read: within the first
/// rounds a key that was given an expiry in the past has a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revocation_between_the_read_and_the_write_is_not_undone() {
    race("memory", MemoryStore::new(), rounds(500, 10_000)).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_is_it_on_sqlite() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = tower_token_auth::SqliteStore::open(folder.path().join("keys.db"));
    race("sqlite", store.await.unwrap(), rounds(100, 5_000)).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_is_it_on_postgresql() {
    if let Some(database) = crate::support::postgres::Database::new() {
        race("postgres", database.open().await, rounds(100, 5_000)).await;
    }
}
