//! Stored times under clocks that step and statements that arrive in any order.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{runtime, time};
use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, Guard, MemoryStore, Owner, Record, TokenDigest,
    store::{KeyRepository, KeyStore, KeyUse, StoreError},
    testing::ManualClock,
};

use crate::support::{Random, issue_with, long_ago, rounds};

const WINDOW: Duration = Duration::from_secs(300);
const KEYS: usize = 3;
const STEPS: usize = 80;

/// A statement of uses.
type Statement = Vec<KeyUse>;

/// Takes the statements and tells the recorder what it likes to hear, or that it failed; whether
/// and when they reach the rows is another matter.
#[derive(Clone)]
struct Post {
    rows: MemoryStore,
    random: Arc<Mutex<Random>>,
    taken: Arc<Mutex<Vec<Statement>>>,
}

impl KeyStore for Post {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.rows.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        self.rows.find(digest).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.rows.find_many(digests).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        self.taken.lock().unwrap().push(uses.to_vec());
        match self.random.lock().unwrap().below(4) {
            0 => Err(StoreError::unavailable("the answer was lost")),
            _ => Ok(uses.len() as u64),
        }
    }
}

/// A service with clocks of its own.
struct Process {
    auth: Authenticator,
    clock: ManualClock,
    _guard: Guard,
}

impl Process {
    fn over(post: &Post) -> Self {
        let clock = ManualClock::at(long_ago());
        let builder = Authenticator::read_only(post.clone()).clock(clock.clone());
        // A small cache: keys are evicted and read again.
        let (auth, guard) = builder.capacity(2).build().unwrap();
        Self { auth, clock, _guard: guard }
    }
}

/// Two processes use the keys of one database, their calendars step by an hour, and their
/// statements reach the rows late, twice, out of order or not at all. In the order in which they did.
async fn a_course(keys: &[ApiKey], seed: u64) -> Vec<Statement> {
    let rows = MemoryStore::new();
    for key in keys {
        rows.insert(key.clone(), Owner::staff("ada"), None, &mut |_, _| true).await.unwrap();
    }
    let random = Arc::new(Mutex::new(Random::new(seed)));
    let below = |end| random.lock().unwrap().below(end);
    let post = Post { rows, random: Arc::clone(&random), taken: Arc::default() };
    let processes = [Process::over(&post), Process::over(&post)];
    let mut arrived = Vec::new();
    for _ in 0..STEPS {
        let process = &processes[below(2)];
        match below(8) {
            0..=3 => {
                let token = token(seed, below(KEYS));
                process.auth.authenticate(&token).await.unwrap();
            }
            4 => {
                let span = Duration::from_secs(below(400) as u64);
                processes.iter().for_each(|process| process.clock.advance(span));
            }
            5 => {
                let hours = [-1, 1][below(2)];
                process.clock.step_wall(chrono::Duration::hours(hours));
            }
            6 => time::sleep(Duration::from_secs(below(70) as u64)).await,
            _ => {
                let mut taken = post.taken.lock().unwrap();
                if !taken.is_empty() {
                    let place = below(taken.len());
                    // One time in three it stays, to arrive once more.
                    let statement = match below(3) {
                        0 => taken[place].clone(),
                        _ => taken.swap_remove(place),
                    };
                    arrived.push(statement);
                }
            }
        }
        // What has arrived is what the next read finds.
        if let Some(latest) = arrived.last() {
            post.rows.record_uses(latest).await.unwrap();
        }
    }
    arrived
}

/// Applies the statements: no row's time moves back, and none is written twice within a window of
/// the calendar. How many rows were written, and the times in the end.
async fn arrive(
    store: &impl KeyRepository,
    keys: &[ApiKey],
    statements: &[Statement],
    seed: u64,
) -> (u64, Vec<Option<DateTime<Utc>>>) {
    let mut written = 0;
    let mut before = vec![None; keys.len()];
    for statement in statements {
        written += store.record_uses(statement).await.unwrap();
        for (key, before) in keys.iter().zip(&mut before) {
            let record = store.get(key.id()).await.unwrap().unwrap();
            let after = record.key().last_used_at();
            if after != *before {
                let least = before.map(|before| before + WINDOW);
                assert!(after > least, "seed {seed}: {before:?}, then {after:?}");
                *before = after;
            }
        }
    }
    (written, before)
}

fn token(seed: u64, number: usize) -> String {
    format!("token-{seed}-{number}")
}

/// I16, second clause, for 5,000 courses of 80 steps with `TOKEN_AUTH_FULL=1`, otherwise 300; the
/// rows of both stores end alike.
///
/// Seen to fail with `if_before` at the end of time in the recorder, and with either store writing
/// whatever it is given.
#[test]
fn no_order_of_statements_and_no_step_of_a_clock_moves_a_stored_time_back() {
    let paused = || {
        let mut builder = runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let real = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    #[cfg(feature = "sqlite")]
    let folder = super::in_memory();
    #[cfg(feature = "sqlite")]
    let sqlite =
        real.block_on(tower_token_auth::SqliteStore::open(folder.path().join("keys.db"))).unwrap();
    let mut rows_written = 0;
    for seed in 0..rounds(300, 5_000) as u64 {
        let memory = MemoryStore::new();
        let keys: Vec<_> = real.block_on(async {
            let mut keys = Vec::new();
            for number in 0..KEYS {
                let token = token(seed, number);
                keys.push(issue_with(&memory, &token, Owner::staff("ada"), |key| key).await);
            }
            keys
        });
        let statements = paused().block_on(a_course(&keys, seed));
        let outcome = real.block_on(arrive(&memory, &keys, &statements, seed));
        rows_written += outcome.0;
        #[cfg(feature = "sqlite")]
        real.block_on(async {
            for key in &keys {
                sqlite
                    .insert(key.clone(), Owner::staff("ada"), None, &mut |_, _| true)
                    .await
                    .unwrap();
            }
            assert_eq!(arrive(&sqlite, &keys, &statements, seed).await, outcome, "seed {seed}");
        });
    }
    assert!(rows_written > 0, "nothing was tested");
}
