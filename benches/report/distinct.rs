//! G7: how many distinct cold keys a second are read through one small pool.
//!
//! As many requests as a busy service has under way at once, each with a key that nobody has read yet.
//! The rival is what a service does by itself: a query for each key, on the same pool.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Request, StatusCode, header};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer as _, ServiceExt as _};
use tower_token_auth::{
    Authenticator, DigestAlgorithm, KeyId, LastUsed, PostgresStore, TokenAuthLayer, TokenDigest,
    store::KeyStore as _,
};

use crate::{
    Effort,
    contenders::{Bare, Body},
    print,
    statistics::{median, ratio_of_medians},
};

const CLIENTS: u64 = 1_000;
const CONNECTIONS: u32 = 8;
/// How many of ours are under way at once. Client and server share two cores here: more queries only wait
/// for each other, each with fewer keys.
const QUERIES: usize = 3;
const ROUNDS: usize = 7;
const GOAL: f64 = 5.0;

pub(crate) fn report(effort: Effort) {
    let Ok(url) = env::var("TEST_DATABASE_URL") else {
        println!("    G7 is left out: TEST_DATABASE_URL names no PostgreSQL server");
        return;
    };
    let keys = if effort == Effort::Smoke { 2_000 } else { 100_000 };
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let schema = format!("token_auth_report_{}", KeyId::random().as_uuid().simple());
    let store = runtime.block_on(prepare(&url, &schema, keys));
    let through = |queries| through_the_layer(&runtime, &store, keys, queries, LastUsed::Off).0;
    let mut times = [const { Vec::new() }; 3];
    for round in 0..effort.rounds(ROUNDS) {
        for place in 0..times.len() {
            let at = (round + place) % times.len();
            times[at].push(match at {
                0 => one_by_one(&runtime, &store, keys),
                1 => through(Some(QUERIES)),
                _ => through(None),
            });
        }
    }
    // Once and at the end: what it writes makes every later round another one's.
    let (recording, written) =
        through_the_layer(&runtime, &store, keys, Some(QUERIES), LastUsed::default());
    runtime.block_on(store.close());
    runtime.block_on(execute(&url, format!("DROP SCHEMA {schema} CASCADE")));
    let [mut rival, mut ours, mut by_default] = times;
    let ratio = ratio_of_medians(&rival, &ours);
    print("G7", ratio, &format!(">= {GOAL:.0}"), ratio.value >= GOAL, 2);
    let rate = |seconds: &mut [f64]| keys as f64 / median(seconds);
    println!("    {keys} keys, {CLIENTS} requests at a time, {CONNECTIONS} connections");
    println!("    one query for each key: {:.0} keys a second", rate(&mut rival));
    println!("    with {QUERIES} queries under way at most: {:.0}", rate(&mut ours));
    println!("    with as many as are by default: {:.0}", rate(&mut by_default));
    println!(
        "    with {QUERIES}, in one round, and {written} last uses written by its end, for which a recorder \
         has room: {:.0}",
        keys as f64 / recording
    );
}

/// A store on a new schema with so many keys.
async fn prepare(url: &str, schema: &str, keys: u64) -> PostgresStore {
    let options = PostgresStore::options().schema(schema).expect("a name");
    let store = options.max_connections(CONNECTIONS).open(url).await;
    let store = store.expect("the server takes a schema");
    let sql = format!(
        "SET search_path = {schema}; \
         INSERT INTO token_auth_owners VALUES ('ada', 'ada', true, true, false); \
         INSERT INTO token_auth_keys (digest, key_id, token_key, owner_id, name, created_at, \
         updated_at, is_active) SELECT sha256(convert_to('{TOKEN}' || n, 'UTF8')), \
         gen_random_uuid(), '', 'ada', 'a key of the report', now(), now(), true \
         FROM generate_series(0, {keys} - 1) AS n"
    );
    execute(url, sql).await;
    let tables = ["keys", "owners", "memberships"].map(|t| format!("{schema}.token_auth_{t}"));
    execute(url, format!("VACUUM ANALYZE {}", tables.join(", "))).await;
    store
}

/// What every token begins with; a number follows.
const TOKEN: &str = "a-token-of-the-report-";

async fn execute(url: &str, sql: String) {
    let mut connection = PgConnection::connect(url).await.expect("the server is there");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("it is done");
    connection.close().await.expect("it was sound");
}

/// How many seconds the rival takes for all keys.
fn one_by_one(runtime: &Runtime, store: &PostgresStore, keys: u64) -> f64 {
    let store = store.clone();
    all(runtime, keys, move |number| {
        let store = store.clone();
        async move {
            let digest = TokenDigest::of(DigestAlgorithm::Sha256, &format!("{TOKEN}{number}"));
            store.find(digest).await.is_ok_and(|found| found.is_some())
        }
    })
}

/// How many seconds an authenticator takes that has read none of them yet, and how many last uses it
/// has written by then.
#[expect(clippy::disallowed_methods, reason = "it is what is measured")]
fn through_the_layer(
    runtime: &Runtime,
    store: &PostgresStore,
    keys: u64,
    queries: Option<usize>,
    last_used: LastUsed,
) -> (f64, u64) {
    let builder = Authenticator::builder(store.clone()).last_used(last_used);
    // So that nothing is evicted.
    let builder = builder.capacity(2 * keys as usize);
    let builder = match queries {
        // Half of them are kept for keys that are known.
        Some(queries) => builder.max_in_flight(2 * queries),
        None => builder,
    };
    let (auth, guard) = builder.build().expect("the settings fit");
    let begun = Instant::now();
    let service = TokenAuthLayer::new(auth).layer(Bare);
    all(runtime, keys, move |number| {
        let service = service.clone();
        async move {
            let request = Request::get("/")
                .header(header::AUTHORIZATION, format!("Token {TOKEN}{number}"))
                .body(Body::default())
                .expect("the request is well formed");
            let response = service.oneshot(request).await.expect("nothing fails here");
            response.status() == StatusCode::OK
        }
    });
    let drained = runtime.block_on(guard.shutdown(Duration::from_secs(60)));
    (begun.elapsed().as_secs_f64(), drained.written())
}

/// Has the clients ask for every key once; how many seconds that takes.
#[expect(clippy::disallowed_methods, reason = "it is what is measured")]
fn all<F>(runtime: &Runtime, keys: u64, ask: impl Fn(u64) -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = bool> + Send,
{
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    runtime.block_on(async {
        let client = || {
            let (next, ask) = (Arc::clone(&next), ask.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= keys {
                        return;
                    }
                    assert!(ask(number).await, "every key is found");
                }
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| client()).collect();
        for client in clients {
            client.await.expect("no request fails");
        }
    });
    begun.elapsed().as_secs_f64()
}
