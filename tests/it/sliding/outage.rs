//! Renewals that can't be written: tried again, bounded, and nobody is refused for them.

use tower_token_auth::store::KeyRepository as _;

use super::{
    Duration, HOUR, Owner, RejectionKind, SOON, Scene, SlidingExpiry, TTL, after, beginnings, idle,
    issue_with, start,
};
use crate::support::Fate;

const SECOND: Duration = Duration::from_secs(1);

/// The store takes no writes for a while, and then does: the renewal is tried again, and written once.
/// Whatever became of the tries before, nothing is suspect and nobody is refused on the way.
///
/// Seen to fail with a worker that ends after its first failure, and, of the one that is lost behind its
/// commit, without `Finding::Stored`.
#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_tried_again() {
    let fates = [
        Fate::Down,
        Fate::LostBefore,
        Fate::LostBehind,
        Fate::PanicBefore,
        Fate::PanicBehind,
        Fate::Late,
    ];
    for fate in fates {
        let s = Scene::with(SECOND, |builder| builder.fresh_ttl(HOUR)).await;
        let renewed = after(start(), TTL);
        s.store.changes(fate);
        for _ in 0..10 {
            assert_eq!(s.ask().await, Ok(renewed), "{fate:?}");
            s.pass(SECOND).await;
        }
        assert!(s.store.changes_begun_so_far() > 4, "{fate:?}");
        s.store.changes(Fate::Made);
        s.pass(6 * SECOND).await;
        assert_eq!((s.ask().await, s.stored().await), (Ok(renewed), Some(renewed)), "{fate:?}");
        let asked = s.store.changes_begun_so_far();
        s.pass(40 * SECOND).await;
        assert_eq!(s.store.changes_begun_so_far(), asked, "{fate:?}: it is written");
        assert_eq!(s.store.land().await, 0, "{fate:?}");
        assert_eq!(s.store.reads(), 1, "{fate:?}");
    }
}

/// A renewal whose outcome is unknown, and which was ended before it was tried again: it does not come
/// behind that.
///
/// Seen to fail without the look at the flags.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_was_lost_does_not_land_behind_a_revocation() {
    let s = Scene::with(HOUR, |builder| builder.fresh_ttl(HOUR)).await;
    s.store.changes(Fate::Late);
    assert_eq!(s.ask().await, Ok(after(start(), TTL)));
    s.store.changes_begun(2).await;
    s.store.changes(Fate::Made);
    s.auth.keys().deactivate(s.key.id()).await.unwrap();
    assert_eq!(s.store.land().await, 0);
    s.pass(SOON).await;
    assert_eq!(s.ask().await, Err(RejectionKind::KeyInactive));
    assert_eq!(s.stored().await, s.key.expires_at());
}

/// A minute in vain, and the key is judged by what is stored: one that has expired by then is refused,
/// the other one passes and is renewed again. Although the store can't be read either, nobody is
/// answered 503: what is cached stays.
///
/// Seen to fail with renewals that are never given up; and, with 503, where giving up outdates the slot.
#[tokio::test(start_paused = true)]
async fn after_a_minute_in_vain_the_stored_expiry_counts() {
    for (expires_in, lives) in [(10 * SECOND, false), (HOUR, true)] {
        let mut s = Scene::with(expires_in, |builder| builder.fresh_ttl(2 * HOUR)).await;
        s.store.changes(Fate::Down);
        let renewed = after(start(), TTL);
        assert_eq!(s.ask().await, Ok(renewed));
        s.store.fail(true);
        for _ in 0..58 {
            s.pass(SECOND).await;
            assert_eq!(s.ask().await, Ok(renewed));
        }
        s.pass(10 * SECOND).await;
        if lives {
            assert_eq!(s.ask().await, Ok(after(s.clock.wall(), TTL)), "renewed again");
        } else {
            assert_eq!(s.ask().await, Err(RejectionKind::Expired));
            s.store.changes(Fate::Made);
            s.pass(SOON).await;
            assert_eq!(s.ask().await, Err(RejectionKind::Expired), "it is not revived");
        }
        assert_eq!(s.stored().await, s.key.expires_at());
        let report = s.shutdown(SECOND).await;
        assert_eq!(report.unwritten_renewals(), usize::from(lives));
        assert_eq!(report.to_string().contains("; 1 later expiries unwritten"), lives, "{report}");
    }
}

/// As many keys wait as there is room for. One more passes by its stored expiry, and is renewed by
/// its next use once there is room.
///
/// Seen to fail without the bound.
#[tokio::test(start_paused = true)]
async fn a_use_that_finds_no_room_leaves_it_to_the_next() {
    const ROOM: usize = 8_192;
    let mut s = Scene::new(HOUR).await;
    s.store.hold_changes();
    for number in 0..ROOM {
        let token = format!("token-{number}");
        let key = |key: tower_token_auth::ApiKey| key.with_expires_at(s.key.expires_at());
        issue_with(s.store.rows(), &token, Owner::staff("ada"), key).await;
        let admitted = s.auth.authenticate(&token).await.unwrap();
        assert_eq!(admitted.key().expires_at(), Some(after(start(), TTL)));
    }
    for _ in 0..3 {
        assert_eq!(s.ask().await.ok(), s.key.expires_at());
    }
    s.store.release();
    while s.ask().await != Ok(after(start(), TTL)) {
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(s.shutdown(SOON).await.unwritten_renewals(), 0);
    assert_eq!(s.stored().await, Some(after(start(), TTL)));
}

/// Seen to fail without the drain in `Guard::shutdown`.
#[tokio::test(start_paused = true)]
async fn a_clean_shutdown_writes_what_waits() {
    let mut s = Scene::new(HOUR).await;
    s.store.changes(Fate::Down);
    s.ask().await.unwrap();
    s.pass(3 * SECOND).await;
    s.store.changes(Fate::Made);
    let report = s.shutdown(SECOND).await;
    assert_eq!((report.unwritten_renewals(), s.stored().await), (0, Some(after(start(), TTL))));
}

/// What waits when the last clone of the authenticator is dropped is tried three times; then nobody
/// holds the store any more.
///
/// Seen to fail without `Renewals::close`.
#[tokio::test(start_paused = true)]
async fn the_worker_ends_with_its_authenticator() {
    for fate in [Fate::Made, Fate::Down] {
        let s = Scene::new(HOUR).await;
        s.ask().await.unwrap();
        idle().await;
        s.store.changes(fate);
        s.clock.advance(Duration::from_secs(61));
        s.ask().await.unwrap();
        let (store, clock) = (s.store.clone(), s.clock.clone());
        drop(s);
        tokio::time::sleep(SOON).await;
        idle().await;
        assert_eq!(store.holders(), 1, "{fate:?}");
        let found = beginnings(&store, &clock).build().unwrap().0;
        let found = found.authenticate(super::TOKEN).await.unwrap();
        let stored =
            if fate == Fate::Made { after(clock.wall(), TTL) } else { after(start(), TTL) };
        assert!(found.key().expires_at() >= Some(stored));
    }
}

/// Many keys in one transaction, of which one can't be written: the others are, each by itself, and the one
/// is tried until its minute is over.
///
/// Seen to fail where a transaction that failed is tried again as a whole: none of them is written.
#[tokio::test(start_paused = true)]
async fn a_row_that_can_t_be_written_holds_up_no_other() {
    let s = Scene::new(HOUR).await;
    s.store.hold_changes();
    s.ask().await.unwrap();
    s.store.changes_begun(2).await;
    let mut others = Vec::new();
    for number in 0..3 {
        let token = format!("token-{number}");
        let key = |key: tower_token_auth::ApiKey| key.with_expires_at(s.key.expires_at());
        others.push(issue_with(s.store.rows(), &token, Owner::staff("ada"), key).await);
        s.auth.authenticate(&token).await.unwrap();
    }
    s.store.stick(Some(s.key.id()));
    s.store.release();
    s.pass(SECOND).await;
    for key in &others {
        let stored = s.store.rows().get(key.id()).await.unwrap().unwrap();
        assert_eq!(stored.key().expires_at(), Some(after(start(), TTL)));
    }
    assert_eq!(s.stored().await, s.key.expires_at());
    assert_eq!(s.ask().await, Ok(after(start(), TTL)), "for a minute");
    s.store.stick(None);
    s.pass(6 * SECOND).await;
    assert_eq!(s.stored().await, Some(after(start(), TTL)));
}

/// The same of a database that refuses one row by a rule of the user's.
///
/// Seen to fail as the one above.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn nor_does_one_that_a_trigger_refuses() {
    use tower_token_auth::{ApiKey, SqliteStore, testing::ManualClock};

    use crate::support::shell;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let mut keys = Vec::new();
    for name in ["refused", "a", "b", "c"] {
        let key = |key: ApiKey| key.with_name(name).with_expires_at(Some(after(start(), HOUR)));
        keys.push(issue_with(&store, name, Owner::staff("ada"), key).await);
    }
    shell::run(
        &path,
        "CREATE TRIGGER stays BEFORE UPDATE ON token_auth_keys WHEN OLD.name = 'refused' \
         BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    let builder = super::Authenticator::builder(store.clone()).last_used(super::LastUsed::Off);
    let builder = builder.clock(ManualClock::at(start())).sliding_expiry(SlidingExpiry::of(TTL));
    let (auth, guard) = builder.build().unwrap();
    for name in ["refused", "a", "b", "c"] {
        auth.authenticate(name).await.unwrap();
    }
    let report = guard.shutdown(SECOND).await;
    assert_eq!(report.unwritten_renewals(), 1);
    for (at, key) in keys.iter().enumerate() {
        let stored = store.get(key.id()).await.unwrap().unwrap();
        let span = if at == 0 { HOUR } else { TTL };
        assert_eq!(stored.key().expires_at(), Some(after(start(), span)), "{}", key.name());
    }
}

/// Everything that can become of a renewal is counted.
///
/// Seen to fail without the comparison of the expiry that was read, and with renewals that are never given
/// up.
#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn what_becomes_of_renewals_is_counted() {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use crate::support::{edit, scrape::Scrape};

    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let s = Scene::new(HOUR).await;
    s.ask().await.unwrap();
    idle().await;
    // Changed behind its back.
    s.pass(120 * SECOND).await;
    s.store.hold_changes();
    s.ask().await.unwrap();
    let later = Some(after(start(), 5 * HOUR));
    let edited =
        edit(s.store.rows(), s.key.id(), |row| Some(row.key().clone().with_expires_at(later)));
    edited.await.unwrap();
    s.store.release();
    idle().await;
    // Given up.
    s.store.changes(Fate::Down);
    s.ask().await.unwrap();
    s.pass(30 * SECOND).await;
    s.pass(40 * SECOND).await;
    s.pass(SECOND).await;
    let scrape = Scrape::parse(&recorder.handle().render());
    let dropped = |reason| scrape.of(&format!("renewals_dropped_total{{reason=\"{reason}\"}}"));
    assert_eq!(scrape.of("renewals_written_total"), 1.0);
    assert_eq!(["overtaken", "given_up", "full"].map(dropped), [1.0, 1.0, 0.0]);
}

/// A shorter lifetime than the cache's, and requests all the time: the key is never refused, and written
/// no more often than it has to be.
///
/// Seen to fail without the chore of `Cache::slides`, and where what was written leaves the slot as it is.
#[tokio::test(start_paused = true)]
async fn a_key_in_use_never_expires() {
    let sliding = SlidingExpiry::of(10 * SECOND).min_gain(3 * SECOND);
    let s = Scene::with(10 * SECOND, |builder| builder.sliding_expiry(sliding)).await;
    for _ in 0..300 {
        s.ask().await.unwrap();
        s.pass(SECOND).await;
    }
    assert_eq!(s.store.changes_begun_so_far(), 1 + 300 / 4 - 1);
}
