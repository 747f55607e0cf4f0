//! What is heard from elsewhere, and for how long what was read is relied on when it is not.

mod channel;
mod gaps;
mod lease;

use std::time::Duration;

use futures_util::FutureExt as _;
use tower_token_auth::{
    ApiKey, Authenticator, AuthenticatorBuilder, FeedHealth, Record, RejectionKind, Subject,
    store::Heard, testing::ManualClock,
};

use crate::support::{Decision, Line, Mood, Scripted, TOKEN, ask, idle, issue, line, long_ago};

const MS: Duration = Duration::from_millis(1);
const TICK: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3_600);

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A store with [`TOKEN`]'s key, an authenticator with a scripted feed that has read it, and the
/// clock of both. The fresh TTL is an hour, so that whatever ends sooner ends for another reason.
struct Setup {
    store: Scripted,
    auth: Authenticator,
    clock: ManualClock,
    line: Line,
    key: ApiKey,
}

impl Setup {
    async fn new(mood: Mood) -> Self {
        Self::with(mood, |builder| builder).await
    }

    async fn with(
        mood: Mood,
        set: impl FnOnce(AuthenticatorBuilder) -> AuthenticatorBuilder,
    ) -> Self {
        let (store, clock) = (Scripted::new(), ManualClock::at(long_ago()));
        let key = issue(&store, TOKEN).await;
        let (line, feed) = line(mood);
        let builder = Authenticator::builder(store.clone()).clock(clock.clone());
        let builder = builder.fresh_ttl(HOUR).negative_ttl(HOUR).feed(feed);
        let (auth, _guard) = set(builder).build().unwrap();
        idle().await;
        assert!(auth.authenticate(TOKEN).await.is_ok());
        Self { store, auth, clock, line, key }
    }

    /// Lets time pass on all clocks in ticks, with everything done that is due by then.
    async fn pass(&self, span: Duration) {
        let mut left = span;
        while !left.is_zero() {
            let step = left.min(TICK);
            self.clock.advance(step);
            tokio::time::advance(step).await;
            idle().await;
            left -= step;
        }
    }

    /// The decision, if the cache makes it by itself.
    fn cached(&self, token: &str) -> Option<Decision> {
        self.auth.authenticate(token).now_or_never()
    }

    fn is_admitted_from_the_cache(&self) -> bool {
        self.cached(TOKEN).is_some_and(|decision| decision.is_ok())
    }

    /// Deactivates the key behind the authenticator's back.
    async fn switch_off(&self) {
        let mut edit = |record: &Record| Some(record.key().clone().with_active(false));
        crate::support::edit(&self.store, self.key.id(), &mut edit).await.unwrap();
    }

    fn tell(&self, subject: Subject) {
        self.line.tell(Heard::Revoked(vec![subject]));
    }

    fn reason(&self) -> String {
        match self.auth.feed_health() {
            FeedHealth::Unhealthy { reason, .. } => reason.into(),
            other => panic!("{other}"),
        }
    }
}

fn kind(decision: Decision) -> RejectionKind {
    decision.unwrap_err().kind()
}

/// I4 with a feed that works: what it tells holds at once, whatever it is about.
///
/// Seen to fail without the call of `Cache::revoke`, and without that of `Cache::flush`, in `attend`.
#[tokio::test(start_paused = true)]
async fn what_the_feed_tells_holds_at_once() {
    let words: [fn(&ApiKey) -> Heard; 4] = [
        |key| Heard::Revoked(vec![Subject::Key(key.id())]),
        |key| Heard::Revoked(vec![Subject::Owner(key.owner_id().clone())]),
        |key| Heard::Revoked(vec![Subject::Owner("bob".into()), Subject::Digest(*key.digest())]),
        |_| Heard::Everything,
    ];
    for word in words {
        let setup = Setup::new(Mood::Well).await;
        assert_eq!(setup.auth.feed_health(), FeedHealth::Healthy);
        setup.switch_off().await;
        assert!(setup.is_admitted_from_the_cache(), "nobody has told");
        let word = word(&setup.key);
        setup.line.tell(word.clone());
        idle().await;
        assert!(setup.cached(TOKEN).is_none(), "{word:?}");
        assert_eq!(kind(setup.auth.authenticate(TOKEN).await), RejectionKind::KeyInactive);
        assert_eq!(setup.store.reads(), 2, "{word:?}");
    }
}

/// What the feed tells about others costs nothing.
///
/// Seen to fail with `attend` that flushes whatever it hears.
#[tokio::test(start_paused = true)]
async fn what_the_feed_tells_of_others_outdates_nothing() {
    let setup = Setup::new(Mood::Well).await;
    setup.tell(Subject::Key(tower_token_auth::KeyId::random()));
    idle().await;
    assert!(setup.is_admitted_from_the_cache());
    assert_eq!(setup.store.reads(), 1);
}

/// The feed knows the key's id alone, and tells it while the key's first read is under way: nobody
/// who joins that read afterwards is answered by what it found.
///
/// Seen to fail without `is_current` in `Cache::read`.
#[tokio::test(start_paused = true)]
async fn a_word_by_key_id_alone_during_a_fill_outdates_it() {
    let setup = Setup::new(Mood::Well).await;
    setup.auth.flush();
    setup.store.hold_answers();
    let early = ask(&setup.auth, TOKEN);
    setup.store.begun(2).await;
    idle().await;
    setup.switch_off().await;
    setup.tell(Subject::Key(setup.key.id()));
    idle().await;
    let late = ask(&setup.auth, TOKEN);
    idle().await;
    setup.store.release();
    assert_eq!(kind(late.await.unwrap()), RejectionKind::KeyInactive);
    let _either = early.await.unwrap();
    assert_eq!(kind(setup.auth.authenticate(TOKEN).await), RejectionKind::KeyInactive);
}

#[tokio::test]
async fn without_a_feed_its_health_is_off() {
    let auth = crate::support::authenticator(Scripted::new());
    assert_eq!(auth.feed_health(), FeedHealth::Off);
    assert_eq!(auth.feed_health().to_string(), "off");
}
