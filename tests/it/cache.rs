//! For how long what was read is relied on, and how much of it there is.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use tower_token_auth::{
    ApiKey, Authenticator, AuthenticatorBuilder, Owner, Record, RejectionKind, testing::ManualClock,
};

use crate::support::{Decision, Fault, Scripted, TOKEN, ask, idle, issue, issue_with, long_ago};

/// A store with [`TOKEN`]'s key, an authenticator that has read it, and the clock of both.
struct Setup {
    store: Scripted,
    auth: Authenticator,
    clock: ManualClock,
    key: ApiKey,
}

impl Setup {
    async fn new() -> Self {
        Self::with(|builder| builder, |key| key).await
    }

    async fn with(
        set: impl FnOnce(AuthenticatorBuilder) -> AuthenticatorBuilder,
        edit: impl FnOnce(ApiKey) -> ApiKey,
    ) -> Self {
        let (store, clock) = (Scripted::new(), ManualClock::at(long_ago()));
        let key = issue_with(&store, TOKEN, Owner::staff("ada"), edit).await;
        let builder = Authenticator::builder(store.clone()).clock(clock.clone());
        let (auth, _guard) = set(builder).build().unwrap();
        let _warm = auth.authenticate(TOKEN).await;
        Self { store, auth, clock, key }
    }

    /// The decision, if the cache makes it by itself.
    fn cached(&self, token: &str) -> Option<Decision> {
        self.auth.authenticate(token).now_or_never()
    }

    async fn switch_off(&self) {
        let mut edit = |record: &Record| Some(record.key().clone().with_active(false));
        crate::support::edit(&self.store, self.key.id(), &mut edit).await.unwrap();
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const MS: Duration = Duration::from_millis(1);

fn kind(decision: Decision) -> RejectionKind {
    decision.unwrap_err().kind()
}

/// I6: a hit is judged against now, not against the moment of the read.
///
/// Seen to fail with `Inner::judge` admitting whatever record it is given.
#[tokio::test]
async fn expiry_is_judged_on_every_hit() {
    let expiry = long_ago() + TimeDelta::seconds(5);
    let setup = Setup::with(|builder| builder, |key| key.with_expires_at(Some(expiry))).await;
    setup.clock.advance(secs(5));
    assert!(setup.cached(TOKEN).unwrap().is_ok(), "it expires after this moment");
    setup.clock.advance(Duration::from_micros(1));
    assert_eq!(kind(setup.cached(TOKEN).unwrap()), RejectionKind::Expired);
    assert_eq!(setup.store.reads(), 1);
    // A key that is read only now is judged alike.
    setup.auth.flush();
    assert_eq!(kind(setup.auth.authenticate(TOKEN).await), RejectionKind::Expired);
}

/// I6: and so are the flags of key and owner.
///
/// Seen to fail like the test before.
#[tokio::test]
async fn inactive_keys_and_owners_are_refused_from_the_cache() {
    let store = Scripted::new();
    issue_with(&store, "off", Owner::staff("ada"), |key| key.with_active(false)).await;
    issue_with(&store, "gone", Owner::staff("bob").with_active(false), |key| key).await;
    let auth = crate::support::authenticator(store.clone());
    for _ in 0..2 {
        assert_eq!(kind(auth.authenticate("off").await), RejectionKind::KeyInactive);
        assert_eq!(kind(auth.authenticate("gone").await), RejectionKind::OwnerInactive);
    }
    assert_eq!(store.reads(), 2, "the second time from the cache");
}

/// I6: what was read lives for the TTL by the monotonic clock, whatever the calendar does, and a
/// key that was switched off elsewhere passes no longer than that.
///
/// Seen to fail with ages taken from the calendar in `Cache::usable` (the life was longer
/// by 1.9 s when the calendar was set back), and without the age there.
#[tokio::test]
async fn a_step_of_the_calendar_lengthens_no_life() {
    for step in [-1_900, 0, 1_900] {
        let setup = Setup::new().await;
        setup.switch_off().await;
        setup.store.hold();
        setup.clock.step_wall(TimeDelta::milliseconds(step));
        setup.clock.advance(secs(10) - MS);
        assert!(setup.cached(TOKEN).unwrap().is_ok(), "stepped by {step}");
        setup.clock.advance(MS);
        assert!(setup.cached(TOKEN).is_none(), "stepped by {step}");
        setup.store.release();
        assert_eq!(kind(setup.auth.authenticate(TOKEN).await), RejectionKind::KeyInactive);
    }
}

/// I6: a machine that slept has a monotonic clock that stood still; then nothing is relied on. Small
/// steps add up.
///
/// Seen to fail without `Cache::notice_clock_jump` in `Cache::lookup`, and, for small steps, with
/// the offset taken anew at every look.
#[tokio::test]
async fn clocks_that_drift_apart_flush() {
    for steps in [&[2_001][..], &[-2_001], &[1_500, 1_500], &[3_600_000]] {
        let setup = Setup::new().await;
        setup.switch_off().await;
        for (number, &step) in steps.iter().enumerate() {
            assert!(setup.cached(TOKEN).is_some(), "{steps:?}, before step {number}");
            setup.clock.step_wall(TimeDelta::milliseconds(step));
        }
        assert!(setup.cached(TOKEN).is_none(), "{steps:?}");
        assert_eq!(kind(setup.auth.authenticate(TOKEN).await), RejectionKind::KeyInactive);
        assert!(setup.cached(TOKEN).is_some(), "once, and not for every hit from now on");
    }
}

/// The same for a read that was under way while the machine slept.
///
/// Seen to fail without `Cache::notice_clock_jump` in `Cache::fetch`.
#[tokio::test]
async fn a_read_that_slept_with_the_machine_is_read_again() {
    let setup = Setup::new().await;
    setup.auth.flush();
    setup.store.hold_answers();
    let caller = ask(&setup.auth, TOKEN);
    setup.store.begun(2).await;
    idle().await;
    setup.switch_off().await;
    setup.clock.step_wall(TimeDelta::hours(8));
    setup.store.release();
    assert_eq!(kind(caller.await.unwrap()), RejectionKind::KeyInactive);
}

/// Rule 12: age counts from before the read was queued, so that a slow store shortens a slot's life
/// in the cache, not the bound.
///
/// Seen to fail with the slot's time taken when the read landed.
#[tokio::test]
async fn age_counts_from_before_the_read() {
    let setup = Setup::new().await;
    setup.auth.flush();
    setup.store.hold_answers();
    let caller = ask(&setup.auth, TOKEN);
    setup.store.begun(2).await;
    idle().await;
    setup.switch_off().await;
    setup.clock.advance(Duration::from_millis(1_500));
    setup.store.release();
    assert!(caller.await.unwrap().is_ok(), "as it was when the caller came");
    setup.store.hold();
    setup.clock.advance(Duration::from_millis(8_500) - MS);
    assert!(setup.cached(TOKEN).unwrap().is_ok());
    setup.clock.advance(MS);
    assert!(setup.cached(TOKEN).is_none(), "ten seconds after the read began");
}

/// I4 without a feed, on a store slower than the TTL: a newcomer does not follow a read that began
/// more than the TTL before it came, as that read may have looked before a change made elsewhere.
///
/// Seen to fail with `Flights` that bound a flight's age by the store timeout alone.
#[tokio::test]
async fn nobody_follows_a_read_older_than_the_ttl() {
    let setup = Setup::with(|builder| builder.fresh_ttl(MS * 500), |key| key).await;
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

/// I10: a negative entry lives for its own TTL.
///
/// Seen to fail with `usable` going by the fresh TTL for either table.
#[tokio::test]
async fn absence_is_believed_for_the_negative_ttl() {
    let setup = Setup::new().await;
    assert_eq!(kind(setup.auth.authenticate("early").await), RejectionKind::Unknown);
    issue(&setup.store, "early").await;
    setup.clock.advance(secs(5) - MS);
    assert_eq!(kind(setup.cached("early").unwrap()), RejectionKind::Unknown);
    setup.clock.advance(MS);
    assert!(setup.auth.authenticate("early").await.is_ok());
}

/// A key in steady use is read again in the background from four fifths of its life on; its
/// requests never wait. A refresh that fails is tried again, and the slot serves out its time.
///
/// Seen to fail without the call of `refresh` in `Authenticator::cached` (at 80 tenths), with a claim
/// that is never given back (at 325), and without the age in `usable` ("its time is up").
#[tokio::test]
async fn a_key_in_use_is_refreshed_ahead_and_never_outlives_its_ttl() {
    let setup = Setup::new().await;
    let tenth = MS * 100;
    for tenths in 1..=300 {
        setup.clock.advance(tenth);
        assert!(setup.cached(TOKEN).unwrap().is_ok(), "at {tenths} tenths");
        idle().await;
        // Every 8 s, as each read begins a new life.
        assert_eq!(setup.store.reads(), 1 + tenths / 80, "at {tenths} tenths");
    }
    // The last read was at 24.0 s, so that the next is due at 32.0 s, and the end at 34.0 s.
    setup.store.break_reads(Some(Fault::Other));
    for tenths in 301..340 {
        setup.clock.advance(tenth);
        assert!(setup.cached(TOKEN).unwrap().is_ok(), "at {tenths} tenths");
        idle().await;
        let tries = if tenths < 320 { 0 } else { 1 + (tenths - 320) / 5 };
        assert_eq!(setup.store.reads(), 4 + tries, "at {tenths} tenths");
    }
    setup.clock.advance(tenth);
    assert!(setup.cached(TOKEN).is_none(), "its time is up");
    setup.store.break_reads(None);
    assert!(setup.auth.authenticate(TOKEN).await.is_ok());
}

/// A change made behind the authenticator's back: nobody is admitted once a refresh has found it.
///
/// Seen to fail with `Entry::settle` keeping the slot that is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_refresh_found_holds_for_everybody() {
    let setup = Setup::new().await;
    setup.switch_off().await;
    setup.clock.advance(secs(8));
    assert!(setup.cached(TOKEN).unwrap().is_ok(), "not found yet");
    let found = async {
        while setup.auth.authenticate(TOKEN).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(secs(30), found).await.expect("the refresh finds it");
    let others: Vec<_> = (0..64).map(|_| ask(&setup.auth, TOKEN)).collect();
    for other in others {
        assert_eq!(kind(other.await.unwrap()), RejectionKind::KeyInactive);
    }
    assert_eq!(setup.store.reads(), 2);
}

/// I7: trouble of the store is answered as trouble, whatever kind it is of, and leaves no trace.
///
/// Seen to fail with an error of the store taken for "no such key" in `Lead::read`: `Unknown`, and
/// still so when the store is back.
#[tokio::test(start_paused = true)]
async fn a_failure_is_never_cached_and_never_the_key_s_fault() {
    let troubles: [fn(&Scripted); 4] = [
        |store| store.fail(true),
        |store| store.break_reads(Some(Fault::Other)),
        |store| store.break_reads(Some(Fault::Panic)),
        |store| store.hold(),
    ];
    for (number, trouble) in troubles.iter().enumerate() {
        let setup = Setup::new().await;
        setup.auth.flush();
        trouble(&setup.store);
        for token in [TOKEN, "of nobody"] {
            let refusal = setup.auth.authenticate(token).await.unwrap_err();
            assert!(refusal.kind().is_unavailable(), "trouble {number}: {refusal:?}");
            assert!(refusal.retry_after().is_some());
        }
        setup.store.fail(false);
        setup.store.break_reads(None);
        setup.store.release();
        assert!(setup.auth.authenticate(TOKEN).await.is_ok(), "trouble {number} left a trace");
        assert_eq!(kind(setup.auth.authenticate("of nobody").await), RejectionKind::Unknown);
    }
}

/// I10: both parts keep to their bounds, and junk evicts no key.
///
/// Seen to fail with absent slots put into the table of present ones ("junk"), and with a
/// capacity that `Table::new` doubles ("the bound").
#[tokio::test]
async fn keys_and_junk_are_bounded_apart() {
    let setup = Setup::with(|builder| builder.capacity(4).negative_capacity(8), |key| key).await;
    let (keys, junk) = (names("key", 4), names("junk", 1_000));
    for key in &keys {
        issue(&setup.store, key).await;
        setup.auth.authenticate(key).await.unwrap();
    }
    for token in &junk {
        assert_eq!(kind(setup.auth.authenticate(token).await), RejectionKind::Unknown);
    }
    let known = |names: &[String]| names.iter().filter(|name| setup.cached(name).is_some()).count();
    setup.store.hold();
    assert_eq!(known(&keys), 4, "junk evicts no key");
    assert_eq!(known(&junk), 8, "the bound of what is known to be absent");
    setup.store.release();
    let more = names("more", 50);
    for key in &more {
        issue(&setup.store, key).await;
        setup.auth.authenticate(key).await.unwrap();
    }
    setup.store.hold();
    assert_eq!(known(&keys) + known(&more), 4, "the bound of keys");
}

fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{kind}-{number}")).collect()
}
