//! A store that is down, and a store that is slow under a flood of junk.

use std::time::Duration;

use futures_util::{FutureExt as _, future::join_all};
use tokio::task::JoinHandle;
use tower_token_auth::{
    Authenticator, AuthenticatorBuilder, KeyId, RejectionKind, Subject, testing::ManualClock,
};

use crate::support::{Decision, Scripted, TOKEN, ask, idle, issue, long_ago};

const TICK: Duration = Duration::from_millis(10);

struct Setup {
    store: Scripted,
    auth: Authenticator,
    clock: ManualClock,
}

impl Setup {
    async fn with(set: impl FnOnce(AuthenticatorBuilder) -> AuthenticatorBuilder) -> Self {
        let (store, clock) = (Scripted::new(), ManualClock::at(long_ago()));
        issue(&store, TOKEN).await;
        let builder = Authenticator::builder(store.clone()).clock(clock.clone());
        let (auth, _guard) = set(builder).build().unwrap();
        assert!(auth.authenticate(TOKEN).await.is_ok());
        Self { store, auth, clock }
    }

    /// Lets one tick pass on all clocks, and everything happen that is due by then.
    async fn tick(&self) {
        self.clock.advance(TICK);
        tokio::time::advance(TICK).await;
        idle().await;
    }

    /// The decision, if no store is needed for it.
    fn at_once(&self, token: &str) -> Option<Decision> {
        self.auth.authenticate(token).now_or_never()
    }
}

fn is_overloaded(decision: &Decision) -> bool {
    decision.as_ref().is_err_and(|refusal| refusal.kind() == RejectionKind::Overloaded)
}

fn is_trouble(decision: &Decision) -> bool {
    decision
        .as_ref()
        .is_err_and(|refusal| refusal.kind().is_unavailable() && refusal.retry_after().is_some())
}

/// I7 and the breaker: a minute without a store, with a request each tick for a key that is cached,
/// a key that is not, one that was switched off during the outage, and one of nobody.
///
/// Seen to fail without `Breaker::admits` in `Lead::read` (23,004 reads), with probes 5 s apart (14
/// reads, and no recovery within a second), and without the age in `usable` (admitted after 10 s).
#[tokio::test(start_paused = true)]
async fn a_minute_without_a_store_admits_nobody_wrongly_and_ends_within_a_second() {
    let setup = Setup::with(|builder| builder).await;
    for token in ["cold", "off"] {
        issue(&setup.store, token).await;
    }
    let off = setup.auth.authenticate("off").await.unwrap();
    let before = setup.store.reads();
    setup.store.fail(true);
    setup.auth.keys().deactivate(off.id()).await.unwrap();
    for tick in 0..6_000_u32 {
        let decision = setup.auth.authenticate(TOKEN).await;
        if TICK * tick < Duration::from_secs(10) {
            assert!(decision.is_ok(), "cached and fresh, after {:?}", TICK * tick);
        } else {
            assert!(is_trouble(&decision), "after {:?}: {decision:?}", TICK * tick);
        }
        for token in ["cold", "off", "nobody's"] {
            let decision = setup.auth.authenticate(token).await;
            assert!(is_trouble(&decision), "{token} after {:?}: {decision:?}", TICK * tick);
        }
        setup.tick().await;
    }
    let reads = setup.store.reads() - before;
    assert!((110..=125).contains(&reads), "{reads} reads, where two a second are 120");
    setup.store.fail(false);
    let mut ticks = 0;
    while setup.auth.authenticate("cold").await.is_err() {
        setup.tick().await;
        ticks += 1;
        assert!(TICK * ticks <= Duration::from_secs(1), "not back after a second");
    }
    assert!(setup.auth.authenticate(TOKEN).await.is_ok());
    let refusal = setup.auth.authenticate("off").await.unwrap_err();
    assert_eq!(refusal.kind(), RejectionKind::KeyInactive);
}

/// The same with a store that does not even fail: it never answers. Requests wait for at most the
/// store timeout, then the breaker spares them that; probes are all that is under way.
///
/// Seen to fail without the timeout in `Lead::fly` (nobody was answered), and without
/// `Breaker::failed` in `Cache::too_slow` (5,832 reads).
#[tokio::test(start_paused = true)]
async fn a_minute_of_silence_is_bounded_too() {
    let setup = Setup::with(|builder| builder).await;
    let before = setup.store.reads();
    setup.store.hold();
    let mut asked: Vec<(u32, JoinHandle<Decision>)> = Vec::new();
    for tick in 0..6_000_u32 {
        // A token of its own each time, so that no flight is shared.
        asked.push((tick, ask(&setup.auth, format!("nobody's {tick}"))));
        setup.tick().await;
        while let Some((since, _)) = asked.first()
            && TICK * (tick - since) > Duration::from_millis(2_250)
        {
            let (since, handle) = asked.remove(0);
            let decision = handle.now_or_never().expect("answered by its timeout").unwrap();
            assert!(is_trouble(&decision), "asked at {since}: {decision:?}");
        }
    }
    // A request each tick until the first ones time out, then two a second.
    let (reads, most) = (setup.store.reads() - before, 32 + 5);
    assert!(reads <= 32 + 130, "{reads} reads");
    assert!(setup.store.peak() <= most, "{} at once", setup.store.peak());
    setup.store.release();
    setup.tick().await;
    for _ in 0..100 {
        setup.tick().await;
        if setup.auth.authenticate(TOKEN).await.is_ok() {
            return;
        }
    }
    panic!("not back after a second");
}

/// I10: a flood of junk takes its own share of reads and of places to wait, and one that finds none
/// is refused at once. A key that the cache knows is served all the while: from the cache, through
/// its refreshes, and when everything has just been flushed.
///
/// Seen to fail with one lane for all (the flushed key was `Overloaded`), and with `Lane::turn` that
/// lets everybody wait (all 20 did).
#[tokio::test(start_paused = true)]
async fn a_flood_of_junk_refuses_no_known_key() {
    let setup = Setup::with(|builder| builder.max_in_flight(4).max_waiting(16)).await;
    setup.store.delay(TICK);
    let (mut number, mut overloaded) = (0, 0);
    for tick in 1..=2_400_u32 {
        let junk: Vec<_> = (0..20)
            .map(|_| {
                number += 1;
                ask(&setup.auth, format!("junk {number}"))
            })
            .collect();
        idle().await;
        // Two read, eight wait: whoever is neither has been told by now, and no time has passed.
        let waiting = junk.iter().filter(|junk| !junk.is_finished()).count();
        assert!(waiting <= 2 + 8, "{waiting} wait");
        for junk in junk.into_iter().filter(JoinHandle::is_finished) {
            let decision = junk.await.unwrap();
            assert!(is_overloaded(&decision), "{decision:?}");
            overloaded += 1;
        }
        let decision = setup.at_once(TOKEN).expect("served from the cache");
        assert!(decision.is_ok(), "at tick {tick}: {decision:?}");
        if tick % 600 == 0 {
            setup.auth.flush();
            let known = ask(&setup.auth, TOKEN);
            idle().await;
            setup.tick().await;
            assert!(known.now_or_never().expect("one read later").unwrap().is_ok());
        } else {
            setup.tick().await;
        }
    }
    assert!(setup.store.peak() <= 4, "{} at once", setup.store.peak());
    assert!(overloaded > number / 2, "{overloaded} of {number}");
}

/// Junk that waited in line for longer than the store timeout says nothing about the store: it must
/// not open the breaker on those whose turn comes.
///
/// Seen to fail with `Cache::too_slow` that holds it against the store when a read was never sent, and
/// when it was sent with little of its time left.
#[tokio::test(start_paused = true)]
async fn time_spent_in_line_is_no_failure_of_the_store() {
    let setup = Setup::with(|builder| builder.max_in_flight(8).max_waiting(1_000)).await;
    // Four turns of 30 ms, so that 268 of 500 are sent in two seconds, the last four too late.
    setup.store.delay(TICK * 3);
    let mut junk = Vec::new();
    for number in 0..500 {
        junk.push(ask(&setup.auth, format!("junk {number}")));
        idle().await;
        // So that no two of them can share a query.
        setup.auth.revoke(&Subject::Key(KeyId::random()));
    }
    for _ in 0..205 {
        setup.tick().await;
    }
    let mut timed_out = 0;
    for decision in join_all(junk).await {
        let refusal = decision.unwrap().unwrap_err();
        timed_out += usize::from(refusal.kind() == RejectionKind::TimedOut);
    }
    assert!(timed_out > 200, "the line was longer than the timeout");
    setup.auth.flush();
    let known = ask(&setup.auth, TOKEN);
    idle().await;
    for _ in 0..3 {
        setup.tick().await;
    }
    let decision = known.now_or_never().expect("one read later").unwrap();
    assert!(decision.is_ok(), "{decision:?}");
}
