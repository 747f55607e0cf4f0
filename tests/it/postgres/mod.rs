//! What only the PostgreSQL store promises; what every store promises is in `store`.

mod bad_input;
mod changes;
mod failover;
mod feed;
#[cfg(feature = "sqlite")]
mod fleet;
mod gaps;
mod holds;
mod losses;
#[cfg(feature = "test-util")]
mod outage;
mod pooler;
mod schema;
#[cfg(all(feature = "metrics", feature = "tracing"))]
mod start;
mod tls;
#[cfg(feature = "test-util")]
mod unknown;
mod uses;

use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, Owner, PostgresStore, TokenDigest, store::KeyRepository as _,
};

use crate::support::postgres::Database;

fn digest_of(token: &str) -> TokenDigest {
    TokenDigest::of(DigestAlgorithm::Sha256, token)
}

fn key_of(token: &str) -> ApiKey {
    let made = "2026-01-02T03:04:05.678901Z".parse().unwrap();
    ApiKey::new(KeyId::random(), digest_of(token), "ada".into(), made).with_name(token)
}

fn ada() -> Owner {
    Owner::staff("ada").with_accounts(["a", "b"])
}

async fn issue(store: &PostgresStore, token: &str) -> ApiKey {
    let record = store.insert(key_of(token), ada(), None, &mut |_, _| true).await.unwrap();
    record.key().clone()
}

/// Until a statement with these words waits for a lock of this schema.
async fn waiting(database: &Database, words: &str) {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND strpos(query, current_schema()) > 0 AND strpos(query, $1) > 0";
    let mut connection = database.connection().await;
    let waited = async {
        loop {
            let waits = sqlx::query_scalar::<_, i64>(waits).bind(words);
            if waits.fetch_one(&mut connection).await.unwrap() > 0 {
                return;
            }
        }
    };
    let bound = std::time::Duration::from_secs(30);
    tokio::time::timeout(bound, waited).await.expect("it should wait for a lock");
}

/// One with our tables and the key of the token `t`, and a store on it.
async fn with_a_key() -> Option<(Database, PostgresStore)> {
    let database = Database::new()?;
    let store = database.open().await;
    issue(&store, "t").await;
    Some((database, store))
}
