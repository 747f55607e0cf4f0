//! I8: keys that pass behind their TTL while the store can't be read, and all that never does.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use tower_token_auth::{
    ApiKey, Authenticator, AuthenticatorBuilder, Owner, Record, RejectionKind, Subject,
    testing::ManualClock,
};

use crate::support::{
    Decision, Fault, Mood, Scripted, TOKEN, ask, idle, issue, issue_with, line, long_ago,
};

const MS: Duration = Duration::from_millis(1);

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The fresh TTL of ten seconds, and a minute behind it.
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
        let (auth, _guard) = set(builder.stale_if_error(secs(60))).build().unwrap();
        idle().await;
        assert!(auth.authenticate(TOKEN).await.is_ok());
        Self { store, auth, clock, key }
    }

    async fn decision(&self) -> Decision {
        self.auth.authenticate(TOKEN).await
    }

    /// Fails as a store in trouble does, and not as a key that is refused.
    async fn is_unavailable(&self) -> bool {
        self.decision().await.is_err_and(|no| no.kind().is_unavailable())
    }
}

type Trouble = (&'static str, fn(&Scripted));

/// Every way in which a store can't be read.
const TROUBLES: [Trouble; 3] = [
    ("unavailable", |store| store.fail(true)),
    ("panics", |store| store.break_reads(Some(Fault::Panic))),
    ("silent", |store| store.hold()),
];

/// Seen to fail without the call of `bridge` in `Cache::fetch`.
#[tokio::test(start_paused = true)]
async fn a_key_outlives_its_ttl_while_the_store_fails() {
    for (name, trouble) in TROUBLES {
        let setup = Setup::new().await;
        trouble(&setup.store);
        setup.clock.advance(secs(70) - MS);
        assert!(setup.decision().await.is_ok(), "{name}");
        assert!(setup.auth.authenticate(TOKEN).now_or_never().is_none(), "{name}: it is asked for");
        setup.clock.advance(MS);
        assert!(setup.is_unavailable().await, "{name}: a minute behind its TTL");
        setup.store.fail(false);
        setup.store.break_reads(None);
        setup.store.release();
        setup.clock.advance(secs(1));
        assert!(setup.decision().await.is_ok(), "{name}: it is back");
    }
}

/// Only then: a store that answers is what counts, and not the age of what stands in for it.
///
/// Seen to fail with `usable` lengthened by `stale_if_error`.
#[tokio::test(start_paused = true)]
async fn a_store_that_answers_is_always_asked() {
    let setup = Setup::new().await;
    let mut edit = |record: &Record| Some(record.key().clone().with_active(false));
    crate::support::edit(&setup.store, setup.key.id(), &mut edit).await.unwrap();
    setup.clock.advance(secs(10));
    assert_eq!(setup.decision().await.unwrap_err().kind(), RejectionKind::KeyInactive);
}

/// More reads than may be under way or wait, none of them for this key: no time passes.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_overloaded_counts_as_one_that_fails() {
    let set = |builder: AuthenticatorBuilder| builder.max_in_flight(2).max_waiting(1);
    let setup = Setup::with(set, |key| key).await;
    for token in ["one", "other"] {
        issue(&setup.store, token).await;
        assert!(setup.auth.authenticate(token).await.is_ok());
    }
    setup.store.hold();
    setup.clock.advance(secs(10));
    // The common turn, the one that is kept for known keys, and the place behind it.
    let others = ["junk", "one", "other"].map(|token| ask(&setup.auth, token));
    idle().await;
    let asked = ask(&setup.auth, TOKEN);
    idle().await;
    assert!(asked.now_or_never().expect("told at once").unwrap().is_ok());
    assert!(others.iter().all(|other| !other.is_finished()));
}

/// Seen to fail with `Inner::judge` left out for what stands in.
#[tokio::test(start_paused = true)]
async fn never_past_its_expiry() {
    let expiry = long_ago() + TimeDelta::seconds(15);
    let setup = Setup::with(|builder| builder, |key| key.with_expires_at(Some(expiry))).await;
    setup.store.fail(true);
    setup.clock.advance(secs(15));
    assert!(setup.decision().await.is_ok());
    setup.clock.advance(MS);
    assert_eq!(setup.decision().await.unwrap_err().kind(), RejectionKind::Expired);
}

/// Whatever was revoked here, by whatever it is known, before the store failed or while it does.
///
/// Seen to fail without `is_current` in `Cache::usable_in_need`.
#[tokio::test(start_paused = true)]
async fn never_past_a_revocation_that_is_known() {
    let words: [fn(&Setup); 4] = [
        |setup| setup.auth.revoke(&Subject::Key(setup.key.id())),
        |setup| setup.auth.revoke(&Subject::Owner("ada".into())),
        |setup| setup.auth.revoke(&Subject::Digest(*setup.key.digest())),
        |setup| setup.auth.flush(),
    ];
    for (number, word) in words.iter().enumerate() {
        for is_before in [true, false] {
            let setup = Setup::new().await;
            if is_before {
                word(&setup);
            }
            setup.store.fail(true);
            setup.clock.advance(secs(11));
            if !is_before {
                assert!(setup.decision().await.is_ok());
                word(&setup);
            }
            assert!(setup.is_unavailable().await, "word {number}, {is_before}");
        }
    }
}

/// A machine that slept: nobody knows what it missed.
#[tokio::test(start_paused = true)]
async fn never_past_a_jump_of_the_clock() {
    let setup = Setup::new().await;
    setup.store.fail(true);
    setup.clock.advance(secs(11));
    setup.clock.step_wall(TimeDelta::seconds(3));
    assert!(setup.is_unavailable().await);
}

/// The feed that would have told of a revocation is down as well.
///
/// Seen to fail without the lease in `Cache::usable_in_need`.
#[tokio::test(start_paused = true)]
async fn never_while_the_feed_is_down() {
    for (mood, is_admitted) in [(Mood::Well, true), (Mood::Deaf, false)] {
        let (line, feed) = line(Mood::Well);
        let setup = Setup::with(|builder| builder.feed(feed), |key| key).await;
        setup.store.fail(true);
        line.becomes(mood);
        if mood == Mood::Deaf {
            line.fail();
        }
        for _ in 0..11 {
            setup.clock.advance(secs(1));
            tokio::time::advance(secs(1)).await;
            idle().await;
        }
        assert_eq!(setup.auth.feed_health().is_healthy(), is_admitted);
        assert_eq!(setup.decision().await.is_ok(), is_admitted, "{mood:?}");
        assert_ne!(setup.is_unavailable().await, is_admitted, "{mood:?}");
    }
}

/// Seen to fail with `bridge` for every demand.
#[tokio::test(start_paused = true)]
async fn never_for_a_decision_that_is_to_be_authoritative() {
    let setup = Setup::new().await;
    setup.store.fail(true);
    for after in [1, 10] {
        setup.clock.advance(secs(after));
        let decision = setup.auth.authenticate_authoritative(TOKEN).await;
        assert!(decision.is_err_and(|no| no.kind().is_unavailable()), "after {after} s");
    }
    assert!(setup.decision().await.is_ok());
}

/// Seen to fail with `bridge` that looks into both tables.
#[tokio::test(start_paused = true)]
async fn never_for_a_token_that_is_unknown() {
    let setup = Setup::new().await;
    assert_eq!(
        setup.auth.authenticate("of nobody").await.unwrap_err().kind(),
        RejectionKind::Unknown
    );
    setup.store.fail(true);
    setup.clock.advance(secs(5));
    let decision = setup.auth.authenticate("of nobody").await;
    assert!(decision.is_err_and(|no| no.kind().is_unavailable()));
}

/// The store works, and this very row can't be read: it was changed, into what nobody knows.
///
/// Seen to fail with every error of a store taken for one of the whole store in `Lead::read`.
#[tokio::test(start_paused = true)]
async fn never_for_a_row_that_cannot_be_read() {
    let setup = Setup::new().await;
    setup.store.break_reads(Some(Fault::Other));
    setup.clock.advance(secs(10));
    assert!(setup.is_unavailable().await);
}
