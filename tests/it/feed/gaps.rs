//! I5: whatever may have gone unheard drops everything cached, once the feed listens again; and the
//! ways in which a driver ends.

use super::*;

type Trouble = (&'static str, fn(&Setup));

/// Every way in which a gap shows itself to the driver, and what it says of it.
const TROUBLES: [Trouble; 5] = [
    ("the key store is unavailable: a test said so", |setup| setup.line.fail()),
    ("the key store failed: the probe could not be sent", |setup| {
        setup.line.becomes(Mood::Failing);
    }),
    ("it did not answer a probe in time", |setup| setup.line.becomes(Mood::Silent)),
    ("it did not take a probe in time", |setup| setup.line.becomes(Mood::Stuck)),
    ("the clocks diverged: was the machine suspended?", |setup| {
        setup.clock.step_wall(chrono::TimeDelta::hours(8));
    }),
];

/// Lets the feed run into trouble, and the driver notice; the feed then hangs in listening.
async fn gap(setup: &Setup, (reason, trouble): Trouble) {
    trouble(setup);
    for _ in 0..60 {
        setup.pass(TICK).await;
        if setup.line.listens() > 1 {
            break;
        }
        if !setup.auth.feed_health().is_healthy() {
            setup.line.becomes(Mood::Hanging);
        }
    }
    assert_eq!(setup.line.listens(), 2, "{reason}");
    assert_eq!(setup.reason(), reason);
}

/// A key is read, and changed, while nobody listens: the word about it is lost. Once the feed
/// listens again, it is refused.
///
/// Seen to fail without the flush in `Cache::feed_found`, and with the flush made before `listen`
/// instead of behind it.
#[tokio::test(start_paused = true)]
async fn a_change_made_during_a_gap_holds_once_the_feed_listens_again() {
    for trouble in TROUBLES {
        let setup = Setup::new(Mood::Well).await;
        gap(&setup, trouble).await;
        // Read while the feed has begun to listen and does not hear yet.
        setup.auth.flush();
        assert!(setup.auth.authenticate(TOKEN).await.is_ok());
        setup.switch_off().await;
        assert!(setup.is_admitted_from_the_cache(), "{}", trouble.0);
        setup.line.becomes(Mood::Well);
        idle().await;
        assert_eq!(kind(setup.auth.authenticate(TOKEN).await), RejectionKind::KeyInactive);
        assert_eq!(setup.auth.feed_health(), FeedHealth::Healthy, "{}", trouble.0);
    }
}

/// Until then the short TTL holds, counted from when the gap was found.
///
/// Seen to fail without lowering the lease in `Cache::feed_lost`, for the gaps that are found before
/// the lease ends; without the call of `rest`.
#[tokio::test(start_paused = true)]
async fn a_gap_ends_the_lease_at_once() {
    let setup = Setup::new(Mood::Well).await;
    setup.pass(TICK).await;
    setup.store.hold();
    setup.line.becomes(Mood::Hanging);
    setup.line.fail();
    idle().await;
    assert_eq!(setup.reason(), "the key store is unavailable: a test said so");
    assert_eq!((setup.line.rests(), setup.line.listens()), (1, 1), "it rests until it is asked");
    setup.pass(secs(5) - MS).await;
    assert!(setup.is_admitted_from_the_cache());
    setup.pass(MS).await;
    assert!(setup.cached(TOKEN).is_none());
}

/// Not before it listens: a flush that comes too early would leave what is read in between.
///
/// Seen to fail with `feed_found` called before `listen`.
#[tokio::test(start_paused = true)]
async fn no_lease_begins_before_the_feed_listens() {
    let setup = Setup::new(Mood::Well).await;
    gap(&setup, TROUBLES[0]).await;
    setup.pass(secs(20)).await;
    assert_eq!(setup.line.listens(), 2, "it hangs");
    assert!(!setup.auth.feed_health().is_healthy());
    setup.pass(secs(20)).await;
    assert_eq!(setup.line.listens(), 3, "for half a minute at most");
    assert_eq!(setup.reason(), "it did not begin to listen in time");
}

/// An answer from before a gap says nothing about the time behind it.
///
/// Seen to fail with probes that are numbered anew when the feed listens again.
#[tokio::test(start_paused = true)]
async fn an_answer_from_before_a_gap_extends_no_lease() {
    let setup = Setup::new(Mood::Silent).await;
    setup.pass(secs(2)).await;
    let before = setup.line.probes();
    assert_eq!(before.len(), 2);
    setup.line.fail();
    setup.line.listened(2).await;
    setup.pass(secs(2)).await;
    assert_eq!(setup.line.probes().len(), 4, "two more, and none is answered");
    for probe in before {
        setup.line.tell(Heard::Alive(probe));
    }
    setup.pass(secs(1) + TICK).await;
    assert_eq!(setup.reason(), "it did not answer a probe in time");
}

/// A feed that listens and fails, over and over, must not keep the cache empty: the pauses grow.
///
/// Seen to fail with `failures` that every listening resets: 300 times.
#[tokio::test(start_paused = true)]
async fn a_feed_that_flaps_flushes_ever_more_seldom() {
    let setup = Setup::new(Mood::Failing).await;
    setup.pass(secs(30)).await;
    let listens = setup.line.listens();
    assert!((8..=14).contains(&listens), "{listens} times in 30 s");
    setup.line.becomes(Mood::Well);
    setup.pass(secs(5)).await;
    assert!(setup.auth.feed_health().is_healthy(), "5 s is the longest pause");
    // An answered probe counts as recovery: the next gap is met at once.
    let before = setup.line.listens();
    setup.line.fail();
    setup.pass(TICK * 2).await;
    assert_eq!(setup.line.listens(), before + 1);
    assert!(setup.auth.feed_health().is_healthy());
}

/// A driver's end, *failed*: the feed panicked. The lease runs out, the feed rests, and the next read
/// has it listen again, behind which everything is read anew.
///
/// Seen to fail without `Alive` (it never listened again).
#[tokio::test(start_paused = true)]
async fn a_feed_that_panics_is_asked_again_after_a_rest() {
    for begins_with in [Mood::Well, Mood::Panicking] {
        let setup = Setup::new(begins_with).await;
        setup.line.becomes(Mood::Panicking);
        setup.pass(TICK).await;
        setup.switch_off().await;
        setup.store.fail(true);
        setup.pass(secs(10)).await;
        assert_eq!(setup.reason(), "it panicked, or its runtime has no timers");
        assert!(setup.cached(TOKEN).is_none(), "past the lease and the short TTL");
        assert_eq!(setup.line.listens(), 1);
        setup.line.becomes(Mood::Well);
        setup.store.fail(false);
        assert_eq!(kind(setup.auth.authenticate(TOKEN).await), RejectionKind::KeyInactive);
        setup.line.listened(2).await;
        idle().await;
        assert_eq!(setup.auth.feed_health(), FeedHealth::Healthy);
    }
}

/// A driver's end, *cancelled*: its runtime is gone. A read on another one starts the next, which
/// listens anew and drops what was cached meanwhile.
///
/// Seen to fail without `rouse` in `Authenticator::resolve` (it never listened again).
#[test]
fn a_driver_whose_runtime_is_gone_is_followed_by_another() {
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap()
    };
    let first = runtime();
    let setup = first.block_on(Setup::new(Mood::Well));
    first.block_on(setup.switch_off());
    drop(first);
    assert!(setup.auth.feed_health().is_healthy(), "the lease still runs");
    assert!(setup.is_admitted_from_the_cache(), "within ten seconds");
    setup.clock.advance(secs(10));
    assert_eq!(
        setup.reason(),
        "its runtime ended; the next read of the store starts it on another"
    );
    runtime().block_on(async {
        assert_eq!(kind(setup.auth.authenticate(TOKEN).await), RejectionKind::KeyInactive);
        idle().await;
        assert_eq!((setup.line.listens(), setup.auth.feed_health()), (2, FeedHealth::Healthy));
    });
}

/// The same by a key that is only ever refreshed.
///
/// Seen to fail without `rouse` in `Authenticator::cached`.
#[test]
fn a_refresh_starts_the_driver_too() {
    let (store, clock) = (Scripted::new(), ManualClock::at(long_ago()));
    crate::support::block_on(issue(&store, TOKEN));
    let (line, feed) = line(Mood::Well);
    let builder = Authenticator::builder(store).clock(clock.clone()).feed(feed);
    let (auth, _guard) = builder.build().unwrap();
    assert!(crate::support::block_on(auth.authenticate(TOKEN)).is_ok());
    assert_eq!((line.listens(), auth.feed_health()), (0, FeedHealth::Starting), "no runtime yet");
    clock.advance(secs(4));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
        assert!(auth.authenticate(TOKEN).now_or_never().unwrap().is_ok(), "from the cache");
        line.listened(1).await;
    });
}

/// A driver's end, *done*: with the last clone of the authenticator, wherever it stands.
///
/// Seen to fail without `Revocation::drop`: the feed was kept.
#[tokio::test(start_paused = true)]
async fn the_driver_ends_with_the_authenticator() {
    for mood in [Mood::Well, Mood::Hanging, Mood::Stuck, Mood::Deaf, Mood::Failing] {
        let setup = Setup::new(mood).await;
        let clone = setup.auth.clone();
        drop(setup.auth);
        idle().await;
        assert!(clone.authenticate(TOKEN).await.is_ok());
        drop(clone);
        setup.line.dropped().await;
    }
}
