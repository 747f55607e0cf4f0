//! Revocations of every kind that one process makes and another one refuses, and how long that takes.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use tower_token_auth::{
    ApiKey, AuthenticatedKey, Authenticator, KeyId, Owner, Rejection, SqliteStore, Token,
    TokenDigest,
    store::{KeyRepository as _, KeyStore as _},
};

use super::other::Other;

/// Within which a revocation made elsewhere holds.
pub(crate) const BOUND: Duration = Duration::from_secs(1);
/// The kinds, as orders to the other process: `ID` and `OWNER` stand for the key's.
const KINDS: [&str; 9] = [
    "deactivate ID",
    "delete ID",
    "deactivate-owner OWNER",
    "narrow ID",
    "sql UPDATE token_auth_keys SET expires_at = 0 WHERE key_id = 'ID'",
    "sql UPDATE token_auth_keys SET is_active = 0 WHERE key_id = 'ID'",
    "sql DELETE FROM token_auth_keys WHERE key_id = 'ID'",
    "sql UPDATE token_auth_owners SET is_active = 0 WHERE id = 'OWNER'",
    "sql UPDATE token_auth_keys SET scopes = '[\"read\"]' WHERE key_id = 'ID'",
];

/// What came of them.
pub(crate) struct Outcome {
    /// How long each was still admitted behind its commit, those that the manager made.
    pub(crate) managed: Latencies,
    /// The same of those made by raw SQL.
    pub(crate) by_sql: Latencies,
    /// Which were admitted beyond the bound, or again after they had been refused.
    pub(crate) missed: Vec<String>,
}

/// Has `other` make `count` revocations, one after the other, of keys that `auth` has cached, and
/// asks for each of them once a millisecond until it is refused.
pub(crate) async fn measure(
    auth: &Authenticator,
    store: &SqliteStore,
    other: &mut Other,
    count: usize,
) -> Outcome {
    let mut targets = Vec::with_capacity(count);
    for number in 0..count {
        targets.push(Target::issue(store, number).await);
    }
    // So many are watched at a time: more would only measure how busy the watchers are.
    let places = Arc::new(Semaphore::new(8));
    let mut watched = Vec::with_capacity(count);
    for target in targets {
        let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
        assert!(target.is_admitted(auth).await, "{}", target.order);
        other.order(&target.order).await.expect("the change is made");
        let (auth, committed) = (auth.clone(), now());
        watched.push(tokio::spawn(async move {
            let mut asks = tokio::time::interval(Duration::from_millis(1));
            // Ten times the bound is missed, too.
            while target.is_admitted(&auth).await && committed.elapsed() < 10 * BOUND {
                asks.tick().await;
            }
            drop(place);
            (target, committed.elapsed())
        }));
    }
    let (mut managed, mut by_sql, mut missed, mut done) = (vec![], vec![], vec![], vec![]);
    for watcher in watched {
        let (target, latency) = watcher.await.expect("a watcher does not panic");
        if latency > BOUND {
            missed.push(format!("{} after {latency:?}", target.order));
        }
        let kind = if target.order.starts_with("sql") { &mut by_sql } else { &mut managed };
        kind.push(latency);
        done.push(target);
    }
    for target in done {
        if target.is_admitted(auth).await {
            missed.push(format!("{}, again", target.order));
        }
    }
    Outcome { managed: Latencies::of(managed), by_sql: Latencies::of(by_sql), missed }
}

/// A key that is to be revoked.
struct Target {
    token: String,
    order: String,
}

impl Target {
    async fn issue(store: &SqliteStore, number: usize) -> Self {
        let (token, owner) = (format!("revoked-{number}"), format!("owner-{number}"));
        let digest = TokenDigest::of(store.digest_algorithm(), &token);
        let key = ApiKey::new(
            KeyId::random(),
            digest,
            owner.as_str().into(),
            chrono::DateTime::from_timestamp(1_700_000_000, 0).expect("a date of this century"),
        );
        let key = key.with_token_key(Token::parse(&token).expect("a token").token_key());
        let key = key.with_scopes(["read", "write"]);
        let order = KINDS[number % KINDS.len()];
        let order = order.replace("ID", &key.id().to_string()).replace("OWNER", &owner);
        store.insert(key, Owner::staff(owner), None, &mut |_, _| true).await.expect("a fresh key");
        Self { token, order }
    }

    /// Whether it passes with all it could do at first.
    async fn is_admitted(&self, auth: &Authenticator) -> bool {
        may_write(&auth.authenticate(&self.token).await)
    }
}

fn may_write(decision: &Result<AuthenticatedKey, Rejection>) -> bool {
    decision.as_ref().is_ok_and(|key| key.key().scopes().any(|scope| scope == "write"))
}

/// How long a thing took, of many.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// The one that `part` of a thousand are no longer than; a thousand is the longest.
    pub(crate) fn per_mille(&self, part: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((self.0.len() * part / 1_000).min(last)).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, max] = [500, 990, 1_000].map(|part| self.per_mille(part));
        write!(f, "{} of them: p50 {p50:.1?}, p99 {p99:.1?}, maximum {max:.1?}", self.0.len())
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement is of real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
