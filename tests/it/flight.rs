//! One read for all who ask for the same key at once, and what becomes of them when it fails.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{runtime, time::timeout};
use tower_token_auth::{Authenticator, RejectionKind, Subject};

use crate::support::{
    Decision, Fault, Scripted, TOKEN, ask, block_on, digest, idle, issue, poll_times, rounds,
    scripted,
};

/// Long enough that a test which waits for it has failed.
const FOREVER: Duration = Duration::from_secs(30);

/// G6 and I9: 100 rounds with `TOKEN_AUTH_FULL=1`, otherwise 4. In every other round the read is
/// held until all have arrived; in the rest it races with their arrival.
///
/// Seen to fail with `Flights::board` that opens a flight for everybody: 10,000 reads.
#[test]
fn ten_thousand_cold_requests_cost_one_read() {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    let rounds = rounds(4, 100);
    println!("{rounds} of 100 rounds");
    runtime.unwrap().block_on(async {
        for round in 0..rounds {
            let (auth, store) = scripted().await;
            if round % 2 == 0 {
                store.hold();
            }
            let arrived = Arc::new(AtomicUsize::new(0));
            let callers: Vec<_> = (0..10_000)
                .map(|_| {
                    let (auth, arrived) = (auth.clone(), Arc::clone(&arrived));
                    tokio::spawn(async move {
                        arrived.fetch_add(1, Ordering::SeqCst);
                        auth.authenticate(TOKEN).await
                    })
                })
                .collect();
            while arrived.load(Ordering::SeqCst) < 10_000 {
                tokio::task::yield_now().await;
            }
            store.release();
            for caller in callers {
                assert!(caller.await.unwrap().is_ok());
            }
            assert_eq!(store.reads(), 1, "round {round}");
        }
    });
}

/// I9 on the edge: a flight that lands between another caller's look at the table and its boarding
/// leaves nothing to read. 200,000 rounds with `TOKEN_AUTH_FULL=1`, otherwise 10,000.
///
/// Seen to fail without the look at what `standing` has in `Cache::fly`: some hundreds of reads too
/// many.
#[test]
fn two_at_once_cost_one_read() {
    let rounds = rounds(10_000, 200_000);
    println!("{rounds} of 200000 rounds");
    let (auth, store) = block_on(scripted());
    let [ready, done, admitted] = [const { AtomicUsize::new(0) }; 3];
    let meet = |place: &AtomicUsize, count: usize| {
        place.fetch_add(1, Ordering::SeqCst);
        while place.load(Ordering::SeqCst) < count {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        for is_first in [true, false] {
            let (auth, ready, done, admitted) = (&auth, &ready, &done, &admitted);
            scope.spawn(move || {
                for round in 1..=rounds {
                    if is_first {
                        auth.flush();
                    }
                    meet(ready, 2 * round);
                    // Judged at the end: who panicked here would leave the other one waiting.
                    admitted.fetch_add(
                        usize::from(block_on(auth.authenticate(TOKEN)).is_ok()),
                        Ordering::SeqCst,
                    );
                    meet(done, 2 * round);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 2 * rounds);
    assert_eq!(store.reads(), rounds);
}

/// I9: who comes after the digest was revoked, or after a flush, opens another read; who comes
/// after another key's revocation does not.
///
/// Seen to fail without the fence in `Flight::may_be_joined` (one read), and with it asking for the
/// clock's time in place of the digest's stamp (a read too many).
#[tokio::test]
async fn a_newcomer_after_a_revocation_of_the_digest_or_a_flush_opens_another_read() {
    let (auth, store) = scripted().await;
    store.hold();
    let mut callers = vec![ask(&auth, TOKEN), ask(&auth, TOKEN)];
    idle().await;
    assert_eq!(store.reads(), 1);
    auth.revoke(&Subject::Key(tower_token_auth::KeyId::random()));
    callers.push(ask(&auth, TOKEN));
    idle().await;
    assert_eq!(store.reads(), 1);
    auth.revoke(&Subject::Digest(digest(&store, TOKEN)));
    callers.push(ask(&auth, TOKEN));
    idle().await;
    assert_eq!(store.reads(), 2);
    auth.flush();
    callers.extend([ask(&auth, TOKEN), ask(&auth, TOKEN)]);
    idle().await;
    assert_eq!(store.reads(), 3);
    store.release();
    for caller in join_all(callers).await {
        assert!(caller.unwrap().is_ok());
    }
    assert!(auth.authenticate(TOKEN).await.is_ok());
}

/// I9 on a runtime: the read is detached, so that it goes on when whoever began it gives up, at any
/// point, and its followers have its result.
///
/// Seen to fail, with a read for every caller who gave up, when `Lead::depart` always hands the
/// leader back to be flown inline.
#[tokio::test]
async fn callers_who_give_up_leave_the_read_to_their_followers() {
    for polls in 1..6 {
        let (auth, store) = scripted().await;
        store.hold();
        for _ in 0..50 {
            assert!(poll_times(pin!(auth.authenticate(TOKEN)), polls).await.is_none());
        }
        store.release();
        assert!(auth.authenticate(TOKEN).await.is_ok());
        assert_eq!(store.reads(), 1, "given up after {polls} polls");
    }
}

/// I9 without a runtime, where the leader's own future makes the read: it is dropped at every point
/// where it can wait, and its follower takes over.
///
/// Seen to hang without the landing in `Lead`'s drop, and to fail with followers that give up on an
/// abandoned flight at once.
#[test]
fn a_follower_takes_over_from_a_leader_that_was_dropped_anywhere() {
    const STEPS: usize = 3;
    let (auth, store) = block_on(scripted());
    for polls in 1..=STEPS {
        auth.flush();
        store.step_reads(STEPS);
        let before = store.reads();
        let mut follower = pin!(auth.authenticate(TOKEN));
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut leader = pin!(auth.authenticate(TOKEN));
            for _ in 0..polls {
                assert!(leader.as_mut().poll(&mut cx).is_pending());
                assert!(follower.as_mut().poll(&mut cx).is_pending());
            }
            assert_eq!(store.reads(), before + 1, "one leads, the other follows");
        }
        assert!(block_on(follower).is_ok(), "dropped after {polls} polls");
        assert_eq!(store.reads(), before + 2);
    }
}

/// I9: a second leader that is dropped under the same follower ends in 503, not in a third wait.
///
/// Seen to fail, as the follower was still pending, with abandoned flights retried without end.
#[test]
fn two_leaders_lost_are_a_failure() {
    let (auth, store) = block_on(scripted());
    store.step_reads(9);
    let mut cx = Context::from_waker(Waker::noop());
    let lead = || Box::pin(auth.authenticate(TOKEN));
    let (mut first, mut second, mut follower) = (lead(), lead(), lead());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    assert!(follower.as_mut().poll(&mut cx).is_pending());
    drop(first);
    assert!(second.as_mut().poll(&mut cx).is_pending(), "leads now");
    assert!(follower.as_mut().poll(&mut cx).is_pending(), "follows again");
    drop(second);
    let Poll::Ready(decision) = follower.as_mut().poll(&mut cx) else { panic!("still waiting") };
    assert_eq!(decision.unwrap_err().kind(), RejectionKind::StoreUnavailable);
}

/// I9: a leader that fails or panics, on a runtime and without, tells everybody, and nobody panics.
/// The failed read is nobody's any more: the next caller has a read of its own.
///
/// Seen to fail with `Cache::ask` that lets a panic through: the flight was taken for abandoned and
/// flown again, and without a runtime the leading caller panicked.
#[test]
fn a_leader_that_fails_or_panics_tells_its_followers() {
    async fn ends(auth: &Authenticator, store: &Scripted, fault: Fault) -> Vec<Decision> {
        store.step_reads(5);
        store.break_reads(Some(fault));
        let decisions = join_all((0..20).map(|_| auth.authenticate(TOKEN))).await;
        store.break_reads(None);
        assert!(auth.authenticate(TOKEN).await.is_ok());
        decisions
    }
    let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for fault in [Fault::Other, Fault::Panic] {
        for with_runtime in [true, false] {
            let (auth, store) = block_on(scripted());
            let decisions = if with_runtime {
                runtime.block_on(ends(&auth, &store, fault))
            } else {
                block_on(ends(&auth, &store, fault))
            };
            for decision in decisions {
                let kind = decision.unwrap_err().kind();
                assert_eq!(kind, RejectionKind::StoreUnavailable, "{fault:?} {with_runtime}");
            }
            assert_eq!(store.reads(), 2, "one for all, one afterwards");
        }
    }
}

/// Without any runtime an authentication reads inline, and neither hits nor refreshes need one.
///
/// Seen to fail with `Cache::wait` that always uses tokio's timer: "no reactor running".
#[test]
fn works_without_a_runtime() {
    let (auth, store) = block_on(scripted());
    assert!(block_on(auth.authenticate(TOKEN)).is_ok());
    let admitted = block_on(auth.authenticate(TOKEN)).unwrap();
    assert_eq!(
        block_on(auth.authenticate("of nobody")).unwrap_err().kind(),
        RejectionKind::Unknown
    );
    assert_eq!(store.reads(), 2);
    block_on(auth.keys().deactivate(admitted.id())).unwrap();
    let refusal = block_on(auth.recheck(&admitted)).unwrap_err();
    assert_eq!(refusal.kind(), RejectionKind::KeyInactive);
}

/// The leader's runtime is shut down while followers wait on another one: they take over at once.
///
/// Seen to fail ("a follower leads") without the landing in `Lead`'s drop.
#[test]
fn followers_survive_the_shutdown_of_the_leader_s_runtime() {
    let store = Scripted::new();
    block_on(issue(&store, TOKEN));
    // So long that it is not what lets them go.
    let builder = Authenticator::builder(store.clone()).store_timeout(FOREVER * 2);
    let (auth, _guard) = builder.build().unwrap();
    store.hold();
    let leaders = runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let leaders = leaders.unwrap();
    let leader = leaders.spawn({
        let auth = auth.clone();
        async move { auth.authenticate(TOKEN).await }
    });
    let here = runtime::Builder::new_current_thread().enable_time().build().unwrap();
    here.block_on(async {
        store.begun(1).await;
        let followers: Vec<_> = (0..20).map(|_| ask(&auth, TOKEN)).collect();
        idle().await;
        assert_eq!(store.reads(), 1);
        leaders.shutdown_background();
        // Not awaited here: a runtime in the background ends when its threads come round to it.
        timeout(FOREVER, store.begun(2)).await.expect("a follower leads");
        store.release();
        for follower in followers {
            assert!(follower.await.unwrap().is_ok());
        }
        assert!(leader.await.unwrap_err().is_cancelled());
    });
    assert_eq!(store.reads(), 2);
}

/// The leader sits on a runtime of one thread that nobody runs: followers elsewhere replace its
/// flight when it is older than the store timeout, and newcomers then do not join it.
///
/// Seen to hang with `Cache::wait` without a limit, and to end in 503 with `Flights::board` that
/// ignores which flight is `stale`, and with a turn that is taken before the leader's task runs.
#[test]
fn followers_survive_a_leader_that_stands_still() {
    let store = Scripted::new();
    block_on(issue(&store, TOKEN));
    let builder = Authenticator::builder(store.clone()).store_timeout(Duration::from_millis(200));
    // One turn for keys that are not known.
    let (auth, _guard) = builder.max_in_flight(2).build().unwrap();
    let idle_runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let leader = pin!(auth.authenticate(TOKEN));
    {
        let _inside = idle_runtime.enter();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(leader.poll(&mut cx).is_pending());
    }
    let here = runtime::Builder::new_current_thread().enable_time().build().unwrap();
    here.block_on(async {
        let followers = join_all((0..20).map(|_| ask(&auth, TOKEN)));
        for follower in timeout(FOREVER, followers).await.expect("nobody hangs") {
            assert!(follower.unwrap().is_ok());
        }
    });
    assert_eq!(store.reads(), 1, "the leader's own was never begun");
}

/// The same, with followers that have no runtime and so no timers: they read for themselves.
///
/// Seen to hang with `Flight::suits_a_caller_without_timers` always true, and with a turn that is taken
/// before the leader's task runs.
#[test]
fn followers_without_a_runtime_do_not_wait_for_one() {
    let store = Scripted::new();
    block_on(issue(&store, TOKEN));
    let (auth, _guard) = Authenticator::builder(store).max_in_flight(2).build().unwrap();
    let idle_runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let leader = pin!(auth.authenticate(TOKEN));
    {
        let _inside = idle_runtime.enter();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(leader.poll(&mut cx).is_pending());
    }
    let (answered, answer) = std::sync::mpsc::channel();
    let follower = auth.clone();
    std::thread::spawn(move || {
        let _ = answered.send(block_on(follower.authenticate(TOKEN)).is_ok());
    });
    assert_eq!(answer.recv_timeout(FOREVER), Ok(true), "nobody hangs");
}

/// Seen to fail with `Authenticator::recheck` that does not compare the ids.
#[tokio::test]
async fn a_token_that_went_to_another_key_admits_no_longer_for_the_first() {
    let (auth, store) = scripted().await;
    let first = auth.authenticate(TOKEN).await.unwrap();
    crate::support::remove(&store, first.id()).await.unwrap();
    let second = issue(&store, TOKEN).await;
    auth.flush();
    assert_eq!(auth.authenticate(TOKEN).await.unwrap().id(), second.id());
    let refusal = auth.recheck(&first).await.unwrap_err();
    assert_eq!(refusal.kind(), RejectionKind::Unknown);
}

/// Flushes that come faster than the store answers: every caller has at most four reads' worth of
/// patience, then 503, and the storm leaves nothing behind.
///
/// Seen to fail with retries that are not counted: the callers were still reading after the storm.
#[tokio::test(start_paused = true)]
async fn a_storm_of_flushes_ends_in_answers() {
    const CALLERS: usize = 40;
    let (auth, store) = scripted().await;
    store.delay(Duration::from_millis(10));
    let storm = tokio::spawn({
        let auth = auth.clone();
        async move {
            for _ in 0..1_000 {
                auth.flush();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let callers: Vec<_> = (0..CALLERS).map(|_| ask(&auth, TOKEN)).collect();
    for caller in join_all(callers).await {
        assert!(caller.unwrap().unwrap_err().kind().is_unavailable());
    }
    assert!(!storm.is_finished(), "the answers came during the storm");
    assert!(store.reads() <= 4 * CALLERS, "{} reads", store.reads());
    storm.await.unwrap();
    assert!(auth.authenticate(TOKEN).await.is_ok());
}
