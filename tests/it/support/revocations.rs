//! Revocations of every kind that one process makes and another one refuses, and how long that takes.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use tower_token_auth::{
    ApiKey, Authenticator, KeyId, Owner, SqliteStore, Token, TokenDigest,
    store::{KeyRepository as _, KeyStore as _},
};

use super::other::Other;

/// Within which a revocation made elsewhere holds.
pub(crate) const BOUND: Duration = Duration::from_secs(1);
/// How long a feed may take to become healthy before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a manager can take away from a key, as orders to the other process: `ID` and `OWNER` stand for the
/// key's.
const BY_MANAGER: [&str; 10] = [
    "deactivate ID",
    "toggle ID",
    "delete ID",
    "rotate ID",
    "narrow ID",
    "move ID",
    "revoke-all OWNER",
    "deactivate-owner OWNER",
    "demote OWNER",
    "leave OWNER",
];
/// The same in raw SQL, and what no manager does: `NEW` stands for an id that nobody has, and `ROW` for
/// the columns of a whole key.
const BY_SQL: [&str; 20] = [
    "UPDATE token_auth_keys SET is_active = 0 WHERE key_id = 'ID'",
    "UPDATE token_auth_keys SET expires_at = 0 WHERE key_id = 'ID'",
    "DELETE FROM token_auth_keys WHERE key_id = 'ID'",
    "UPDATE token_auth_keys SET scopes = '[\"read\"]' WHERE key_id = 'ID'",
    "UPDATE token_auth_keys SET account_id = 'other' WHERE key_id = 'ID'",
    "UPDATE token_auth_keys SET account_id = NULL WHERE key_id = 'ID'",
    "UPDATE token_auth_keys SET digest = lower(hex(randomblob(32))) WHERE key_id = 'ID'",
    "UPDATE token_auth_keys SET key_id = 'NEW' WHERE key_id = 'ID'",
    "INSERT INTO token_auth_owners VALUES ('NEW', 'heir', 1, 1, 0); \
     UPDATE token_auth_keys SET owner_id = 'NEW' WHERE key_id = 'ID'",
    // Rotated at once.
    "UPDATE token_auth_keys SET is_active = 0, expires_at = 1 WHERE key_id = 'ID'; \
     INSERT INTO token_auth_keys (digest, key_id, predecessor_id, is_active, ROW) \
     SELECT lower(hex(randomblob(32))), 'NEW', 'ID', 1, ROW FROM token_auth_keys \
     WHERE key_id = 'ID'",
    // By a row of another id that takes its digest.
    "REPLACE INTO token_auth_keys (digest, key_id, is_active, ROW) \
     SELECT digest, 'NEW', 0, ROW FROM token_auth_keys WHERE key_id = 'ID'",
    "UPDATE token_auth_keys SET is_active = 0 WHERE owner_id = 'OWNER'",
    "UPDATE token_auth_owners SET is_active = 0 WHERE id = 'OWNER'",
    "UPDATE token_auth_owners SET is_staff = 0 WHERE id = 'OWNER'",
    "UPDATE token_auth_owners SET is_superuser = 0 WHERE id = 'OWNER'",
    "DELETE FROM token_auth_owners WHERE id = 'OWNER'",
    "REPLACE INTO token_auth_owners VALUES ('OWNER', 'replaced', 0, 0, 0)",
    "DELETE FROM token_auth_memberships WHERE owner_id = 'OWNER'",
    "UPDATE token_auth_memberships SET account_id = 'other' WHERE owner_id = 'OWNER'",
    "INSERT INTO token_auth_owners VALUES ('NEW', 'heir', 1, 1, 0); \
     UPDATE token_auth_memberships SET owner_id = 'NEW' WHERE owner_id = 'OWNER'",
];
const ROW: &str = "token_key, owner_id, name, created_at, updated_at";

/// Waits until the feed is known to work.
pub(crate) async fn healthy(auth: &Authenticator) {
    let healthy = async {
        while !auth.feed_health().is_healthy() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, healthy).await.is_err() {
        panic!("the feed is not healthy after {PATIENCE:?}: {}", auth.feed_health());
    }
}

/// What came of them.
pub(crate) struct Outcome {
    /// How long each was still admitted behind its commit, those that the manager made.
    pub(crate) managed: Latencies,
    /// The same of those made by raw SQL.
    pub(crate) by_sql: Latencies,
    /// Which were admitted as before beyond the bound, or again after they had been refused.
    pub(crate) missed: Vec<String>,
}

/// Has `other` make `count` revocations by its manager and as many by raw SQL, one after the other and in
/// turn, of keys that `auth` has cached, and asks for each of them once a millisecond until it is
/// refused, or no longer what it was.
pub(crate) async fn measure(
    auth: &Authenticator,
    store: &SqliteStore,
    other: &mut Other,
    count: usize,
) -> Outcome {
    let mut targets = Vec::with_capacity(2 * count);
    for number in 0..count {
        let by_manager = BY_MANAGER[number % BY_MANAGER.len()].to_owned();
        let by_sql = BY_SQL[number % BY_SQL.len()];
        // Whole or not at all, as a program that means one change would.
        let by_sql = format!("sql BEGIN IMMEDIATE; {by_sql}; COMMIT");
        for (way, order) in [("managed", by_manager), ("by-sql", by_sql)] {
            targets.push(Target::issue(store, &format!("{way}-{number}"), &order).await);
        }
    }
    // So many are watched at a time: more would only measure how busy the watchers are.
    let places = Arc::new(Semaphore::new(8));
    let mut watched = Vec::with_capacity(2 * count);
    for target in targets {
        let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
        assert!(target.is_as_it_was(auth).await, "{}", target.order);
        let made = other.order(&target.order).await;
        assert_eq!(made, Ok(()), "{}", target.order);
        let (auth, committed) = (auth.clone(), now());
        watched.push(tokio::spawn(async move {
            let mut asks = tokio::time::interval(Duration::from_millis(1));
            // Ten times the bound is missed, too.
            while target.is_as_it_was(&auth).await && committed.elapsed() < 10 * BOUND {
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
        if target.is_as_it_was(auth).await {
            missed.push(format!("{}, again", target.order));
        }
    }
    Outcome { managed: Latencies::of(managed), by_sql: Latencies::of(by_sql), missed }
}

/// A key that is to be revoked, or to become less than it was.
struct Target {
    token: String,
    order: String,
    id: KeyId,
    owner: Owner,
}

impl Target {
    async fn issue(store: &SqliteStore, name: &str, order: &str) -> Self {
        let (token, owner) = (format!("token-{name}"), format!("owner-{name}"));
        let owner = Owner::staff(owner).with_superuser(true).with_accounts(["home"]);
        let id = KeyId::random();
        let key = ApiKey::new(
            id,
            TokenDigest::of(store.digest_algorithm(), &token),
            owner.id().clone(),
            chrono::DateTime::from_timestamp(1_700_000_000, 0).expect("a date of this century"),
        );
        let key = key.with_token_key(Token::parse(&token).expect("a token").token_key());
        let key = key.with_scopes(["read", "write"]).with_account(Some("home".into()));
        let order = order
            .replace("ROW", ROW)
            .replace("'ID'", &format!("'{id}'"))
            .replace(" ID", &format!(" {id}"))
            .replace("OWNER", owner.id().as_str())
            .replace("NEW", &KeyId::random().to_string());
        store.insert(key, owner.clone(), None, &mut |_, _| true).await.expect("a fresh key");
        Self { token, order, id, owner }
    }

    /// Whether it passes with all that it was at first.
    async fn is_as_it_was(&self, auth: &Authenticator) -> bool {
        let decision = auth.authenticate(&self.token).await;
        decision.is_ok_and(|admitted| {
            let key = admitted.key();
            key.id() == self.id
                && key.account().is_some_and(|account| account.as_str() == "home")
                && key.scopes().any(|scope| scope == "write")
                && *admitted.owner() == self.owner
        })
    }
}

/// How long a thing took, of many.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn of(mut all: Vec<Duration>) -> Self {
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
