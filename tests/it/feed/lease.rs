//! I4 when the feed is silent, down, or was never up: the short TTL behind the lease.

use super::*;
use crate::support::block_on;

/// Silent from the second probe on; the first, sent at the start, has the lease end at 5 s. The
/// change comes right behind that probe, and is admitted for no more than the ten seconds of
/// heartbeat, timeout and short TTL. The store hangs, so that no refresh finds the change before.
///
/// Seen to fail without the short TTL in `Cache::term`, and with a lease that is longer than
/// heartbeat and timeout.
#[tokio::test(start_paused = true)]
async fn a_feed_that_falls_silent_bounds_a_change_by_ten_seconds() {
    for mood in [Mood::Silent, Mood::Stuck] {
        let setup = Setup::new(Mood::Well).await;
        setup.line.becomes(mood);
        setup.switch_off().await;
        setup.store.hold();
        setup.pass(secs(5) - MS).await;
        assert_eq!(setup.auth.feed_health(), FeedHealth::Healthy, "{mood:?}");
        setup.line.becomes(Mood::Deaf);
        setup.pass(MS).await;
        assert!(!setup.auth.feed_health().is_healthy(), "{mood:?}");
        setup.pass(secs(5) - MS).await;
        assert!(setup.is_admitted_from_the_cache(), "{mood:?}");
        setup.pass(MS).await;
        assert!(setup.cached(TOKEN).is_none(), "{mood:?}: ten seconds after the change");
    }
}

/// The lease counts from when a probe was sent: an answer that is 2.9 s late makes it no longer. A
/// driver that goes on would find out by the next probe; this one does not.
///
/// Seen to fail with a lease that counts from when the answer was heard.
#[test]
fn the_lease_counts_from_when_the_probe_was_sent() {
    let runtime = paused();
    let setup = runtime.block_on(async {
        let setup = Setup::new(Mood::Silent).await;
        let probe = setup.line.probes()[0];
        setup.pass(Duration::from_millis(2_900)).await;
        setup.line.tell(Heard::Alive(probe));
        idle().await;
        setup
    });
    setup.clock.advance(Duration::from_millis(2_100) - MS);
    assert_eq!(setup.auth.feed_health(), FeedHealth::Healthy);
    setup.clock.advance(MS);
    assert!(!setup.auth.feed_health().is_healthy(), "5 s after it was sent");
}

fn paused() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap()
}

/// And that of a feed which began to listen from before it was told to.
///
/// Seen to fail with `began` taken behind `listen` in `run`.
#[tokio::test(start_paused = true)]
async fn the_lease_of_listening_counts_from_before_it() {
    let setup = Setup::new(Mood::Deaf).await;
    setup.line.becomes(Mood::Silent);
    setup.line.listening_takes(secs(4));
    while setup.line.probes().is_empty() {
        setup.pass(TICK).await;
    }
    assert!(setup.auth.authenticate(TOKEN).await.is_ok());
    // Neither a refresh nor the next time it begins to listen comes between.
    setup.store.hold();
    setup.pass(secs(6) - MS).await;
    assert!(setup.is_admitted_from_the_cache());
    setup.pass(MS).await;
    assert!(setup.cached(TOKEN).is_none(), "ten seconds after it was told to listen");
}

/// That lease is worth its time, but nothing was heard yet: a feed that listens and never hears is not
/// called healthy by turns.
///
/// Seen to fail with the lease alone for health.
#[tokio::test(start_paused = true)]
async fn a_feed_that_never_answered_is_not_healthy() {
    let setup = Setup::new(Mood::Silent).await;
    assert_eq!(setup.auth.feed_health(), FeedHealth::Starting);
    for _ in 0..300 {
        setup.pass(TICK).await;
        assert!(!setup.auth.feed_health().is_healthy());
    }
    assert!(setup.line.listens() > 2);
    setup.line.becomes(Mood::Well);
    setup.pass(secs(10)).await;
    assert_eq!(setup.auth.feed_health(), FeedHealth::Healthy);
}

/// Answers that are all 2.9 s late are all in time: the lease never runs out.
///
/// Seen to fail with a probe that is sent only when the one before it was answered.
#[tokio::test(start_paused = true)]
async fn a_slow_feed_that_keeps_its_time_stays_healthy() {
    let setup = Setup::new(Mood::Silent).await;
    let (mut sent, mut answered) = (Vec::new(), 0);
    for tick in 0..300 {
        sent.resize(setup.line.probes().len(), tick);
        while sent.get(answered).is_some_and(|sent| tick >= sent + 29) {
            setup.line.tell(Heard::Alive(setup.line.probes()[answered]));
            answered += 1;
        }
        idle().await;
        assert_eq!(setup.auth.feed_health().is_healthy(), answered > 0, "at tick {tick}");
        setup.pass(TICK).await;
    }
    assert_eq!((sent.len(), answered, setup.line.listens()), (15, 14, 1));
}

/// A driver that is not run any more lowers nothing; the lease ends all the same.
///
/// Seen to fail without the short TTL in `Cache::term`.
#[test]
fn a_driver_that_stands_still_is_a_lease_that_ends() {
    let runtime = paused();
    let setup = runtime.block_on(Setup::new(Mood::Well));
    block_on(setup.switch_off());
    setup.line.tell(Heard::Everything);
    setup.clock.advance(secs(10) - MS);
    assert!(setup.is_admitted_from_the_cache(), "nobody runs the driver");
    setup.clock.advance(MS);
    assert!(block_on(setup.auth.authenticate(TOKEN)).is_err());
    assert_eq!(setup.reason(), "it was not heard in time");
    // It goes on where it stood: both probe and word have waited for it.
    runtime.block_on(async {
        setup.pass(secs(1)).await;
        assert!(setup.auth.feed_health().is_healthy());
    });
}

/// A feed that was never up: the short TTL from the start, for keys and for what is absent.
///
/// Seen to fail with a lease that begins at the far end of the scale.
#[tokio::test(start_paused = true)]
async fn a_feed_that_was_never_heard_leaves_the_short_ttl() {
    let setup = Setup::new(Mood::Hanging).await;
    assert_eq!(setup.auth.feed_health(), FeedHealth::Starting);
    assert_eq!(kind(setup.auth.authenticate("early").await), RejectionKind::Unknown);
    issue(&setup.store, "early").await;
    setup.switch_off().await;
    setup.store.hold();
    setup.pass(secs(5) - MS).await;
    assert!(setup.is_admitted_from_the_cache() && setup.cached("early").is_some());
    setup.pass(MS).await;
    assert!(setup.cached(TOKEN).is_none() && setup.cached("early").is_none());
}

/// With the feed up both live for their own TTL.
#[tokio::test(start_paused = true)]
async fn a_feed_that_works_leaves_the_long_ttl() {
    let setup = Setup::new(Mood::Well).await;
    assert_eq!(kind(setup.auth.authenticate("of nobody").await), RejectionKind::Unknown);
    setup.pass(secs(60)).await;
    assert!(setup.is_admitted_from_the_cache() && setup.cached("of nobody").is_some());
    assert_eq!(setup.store.reads(), 2);
    assert_eq!(setup.line.probes().len(), 31, "one each two seconds");
}

/// While the feed is down, a key in steady use is read ahead of its shorter end, and its requests
/// never wait.
///
/// Seen to fail with `refresh_from` that goes by the fresh TTL alone.
#[tokio::test(start_paused = true)]
async fn a_key_in_use_is_refreshed_ahead_of_the_short_ttl() {
    let setup = Setup::new(Mood::Deaf).await;
    for tick in 1..=300 {
        setup.pass(TICK).await;
        assert!(setup.is_admitted_from_the_cache(), "at tick {tick}");
        idle().await;
        assert_eq!(setup.store.reads(), 1 + tick / 40, "every four seconds, at tick {tick}");
    }
}

/// On a store slower than the short TTL: a newcomer does not follow a read that began more than
/// that before it came.
///
/// Seen to fail with `Flights` whose age is not bounded by the short TTL.
#[tokio::test(start_paused = true)]
async fn nobody_follows_a_read_older_than_the_short_ttl() {
    let setup = Setup::with(Mood::Deaf, |builder| builder.short_ttl(MS * 500)).await;
    setup.auth.flush();
    setup.store.hold_answers();
    let early = ask(&setup.auth, TOKEN);
    setup.store.begun(2).await;
    idle().await;
    setup.switch_off().await;
    setup.clock.advance(MS * 499);
    let follower = ask(&setup.auth, TOKEN);
    idle().await;
    assert_eq!(setup.store.reads(), 2);
    setup.clock.advance(MS);
    let late = ask(&setup.auth, TOKEN);
    idle().await;
    setup.store.release();
    assert_eq!(kind(late.await.unwrap()), RejectionKind::KeyInactive);
    let _either = (early.await.unwrap(), follower.await.unwrap());
}
