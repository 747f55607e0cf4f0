//! I4: how long a key is still admitted that another process has revoked, on one SQLite file with the
//! feed on. The other process is this very program.

#[allow(dead_code, reason = "the tests make use of all of it")]
#[path = "../../tests/it/support/other.rs"]
pub(crate) mod other;
#[path = "../../tests/it/support/revocations.rs"]
pub(crate) mod revocations;
// Here, as it makes use of the other.
#[path = "../../tests/it/support/fleet.rs"]
pub(crate) mod nodes;

use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower_token_auth::{Authenticator, SqliteStore};

use crate::{Effort, print, statistics::Estimate};

/// So many by its manager, and as many by raw SQL.
const REVOCATIONS: usize = 1_000;

pub(crate) fn report(effort: Effort) {
    let count = if effort == Effort::Smoke { 20 } else { REVOCATIONS };
    let outcome = runtime().block_on(measure(count));
    let kinds = [&outcome.managed, &outcome.by_sql];
    let millis = |part: usize| {
        kinds.iter().map(|kind| kind.per_mille(part).as_secs_f64() * 1e3).fold(0.0, f64::max)
    };
    let worst = Estimate { value: millis(1_000), low: millis(500), high: millis(1_000) };
    let bound = revocations::BOUND.as_secs_f64() * 1e3;
    let met = outcome.missed.is_empty() && worst.value <= bound;
    print("I4", worst, "<= 1000 ms, 0 of all missed", met, 0);
    println!(
        "    {count} revocations each, made by another process, admitted behind its commit for"
    );
    println!("    by its manager, {}", outcome.managed);
    println!("    by raw SQL, {}; missed: {}", outcome.by_sql, outcome.missed.len());
}

async fn measure(count: usize) -> revocations::Outcome {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).await.expect("a new file");
    // Long, so that it is the feed that tells, or nobody.
    let builder = Authenticator::builder(store.clone()).feed(store.feed());
    let built = builder.fresh_ttl(Duration::from_secs(3_600)).build();
    let (auth, _guard) = built.expect("the settings are sound");
    revocations::healthy(&auth).await;
    let mut other = other::Other::start(&[], &path).await;
    revocations::measure(&auth, &store, &mut other, count).await
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
}
