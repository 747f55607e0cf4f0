//! What the feed of a SQLite database tells, and what it does not.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt as _;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tower_token_auth::{
    Authenticator, DigestAlgorithm, Owner, Record, SqliteFeed, SqliteStore, Subject, TokenDigest,
    store::{Heard, KeyRepository as _, KeyStore, KeyUse, RevocationFeed as _, StoreError},
};

use super::{Database, digest_of, issue, key_of};
use crate::support::{revocations, shell};

/// All that the feed tells by now: it answers a probe behind it.
async fn told(feed: &mut SqliteFeed) -> Vec<Subject> {
    feed.probe(7).await.unwrap();
    let mut told = Vec::new();
    loop {
        match feed.next().await.unwrap() {
            Heard::Revoked(subjects) => told.extend(subjects),
            Heard::Alive(7) => return told,
            other => panic!("{other:?}"),
        }
    }
}

async fn listening(database: &Database) -> (SqliteStore, SqliteFeed) {
    let store = SqliteStore::open(&database.path).await.unwrap();
    let mut feed = store.feed();
    feed.listen().await.unwrap();
    (store, feed)
}

/// What the feed ends in, which takes it no longer than a look or two.
async fn error_of(feed: &mut SqliteFeed) -> String {
    let next = tokio::time::timeout(Duration::from_secs(10), feed.next());
    next.await.expect("it looks").expect_err("it has a gap").to_string()
}

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// Two keys of `ada` and one of `bob`, each with an account. `K` stands for the first key's id, `L`
/// for the second one's, `M` for bob's, and `D` for a digest that nobody has.
async fn tells(sql: &str, expected: &[&str]) {
    tells_behind("", sql, expected).await;
}

/// The same, when what `before` makes was told already.
async fn tells_behind(before: &str, sql: &str, expected: &[&str]) {
    for enforced in ["ON", "OFF"] {
        let database = Database::new();
        let (store, mut feed) = listening(&database).await;
        let mut ids = Vec::new();
        for (token, owner) in [("k", "ada"), ("l", "ada"), ("m", "bob")] {
            let key = tower_token_auth::ApiKey::new(
                tower_token_auth::KeyId::random(),
                digest_of(token),
                owner.into(),
                key_of(token).created_at(),
            );
            let owner = Owner::staff(owner).with_accounts(["a"]);
            ids.push(
                store.insert(key, owner, None, &mut |_, _| true).await.unwrap().id().to_string(),
            );
        }
        let fill = |text: &str| {
            let text = text.replace("'K'", &format!("'{}'", ids[0]));
            let text = text.replace("'L'", &format!("'{}'", ids[1]));
            let text = text.replace("'M'", &format!("'{}'", ids[2]));
            text.replace("'D'", &format!("'{}'", digest_of("other").to_hex()))
        };
        let mut connection = database.connection().await;
        let before = fill(&format!("PRAGMA foreign_keys = {enforced}; {before}"));
        sqlx::raw_sql(AssertSqlSafe(before.clone())).execute(&mut connection).await.expect(&before);
        told(&mut feed).await;
        let sql = fill(sql);
        sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut connection).await.expect(&sql);
        let subject = |name: &&str| match *name {
            "K" | "L" | "M" => {
                let id = &ids[["K", "L", "M"].iter().position(|known| known == name).unwrap()];
                Subject::Key(id.parse().unwrap())
            }
            NOBODY => Subject::Key(NOBODY.parse().unwrap()),
            owner => Subject::Owner(owner.into()),
        };
        let expected: Vec<Subject> = expected.iter().map(subject).collect();
        let told = told(&mut feed).await;
        for subject in &expected {
            assert!(told.contains(subject), "{sql}: {subject:?} is missing in {told:?}");
        }
        for subject in &told {
            // What an owner's end takes along may be told besides.
            let is_along = sql.contains("owners") && matches!(subject, Subject::Key(_));
            assert!(expected.contains(subject) || is_along, "{sql}: {subject:?} is told");
        }
    }
}

/// Every column that a revocation can change, and every way to change a row.
///
/// Seen to fail, each at its line, without each of the triggers on keys, owners and memberships in
/// turn, and without each column in their conditions.
#[tokio::test]
async fn every_change_that_counts_is_told() {
    let keys = "token_auth_keys";
    for (change, expected) in [
        ("is_active = 0 WHERE key_id = 'K'", &["K"][..]),
        ("expires_at = 0 WHERE key_id = 'K'", &["K"]),
        ("scopes = '[\"read\"]' WHERE key_id = 'K'", &["K"]),
        ("account_id = 'b' WHERE key_id = 'K'", &["K"]),
        ("owner_id = 'bob' WHERE key_id = 'K'", &["K"]),
        ("digest = 'D' WHERE key_id = 'K'", &["K"]),
        ("is_active = 0", &["K", "L", "M"]),
    ] {
        tells(&format!("UPDATE {keys} SET {change}"), expected).await;
    }
    tells(&format!("UPDATE {keys} SET key_id = '{NOBODY}' WHERE key_id = 'K'"), &["K", NOBODY])
        .await;
    tells(&format!("DELETE FROM {keys} WHERE key_id = 'K'"), &["K"]).await;
    tells(&format!("DELETE FROM {keys}"), &["K", "L", "M"]).await;
    for column in ["is_active", "is_staff", "is_superuser"] {
        let sql = format!("UPDATE token_auth_owners SET {column} = 1 - {column} WHERE id = 'ada'");
        tells(&sql, &["ada"]).await;
    }
    tells("DELETE FROM token_auth_owners WHERE id = 'ada'", &["ada"]).await;
    tells("INSERT INTO token_auth_owners VALUES ('eve', 'eve', 1, 0, 0)", &["eve"]).await;
    let members = "token_auth_memberships";
    tells(&format!("INSERT INTO {members} VALUES ('ada', 'b')"), &["ada"]).await;
    tells(&format!("DELETE FROM {members} WHERE owner_id = 'ada'"), &["ada"]).await;
    tells(&format!("UPDATE {members} SET account_id = 'b' WHERE owner_id = 'ada'"), &["ada"]).await;
    let moved = format!("UPDATE {members} SET owner_id = 'bob', account_id = 'b'");
    tells(&format!("{moved} WHERE owner_id = 'ada'"), &["ada", "bob"]).await;
}

/// `REPLACE` deletes what is in its way without a DELETE trigger.
///
/// Seen to fail without `keys_replaced` (the first one), without `keys_displaced` (the third), without
/// `keys_added` (the second), and without the predecessor in the first two (the fourth and fifth).
#[tokio::test]
async fn what_replace_puts_out_of_its_way_is_told() {
    let columns = "digest, key_id, token_key, owner_id, name, created_at, updated_at, is_active";
    let replace = |key: &str, digest: &str| {
        format!(
            "REPLACE INTO token_auth_keys ({columns}) \
             VALUES ('{digest}', {key}, '', 'ada', '', 0, 0, 1)"
        )
    };
    let nobody = format!("'{NOBODY}'");
    tells(&replace(&nobody, &digest_of("k").to_hex()), &["K", NOBODY]).await;
    tells(&replace("'K'", &digest_of("other").to_hex()), &["K"]).await;
    let taken = format!("SET digest = '{}' WHERE key_id = 'K'", digest_of("l").to_hex());
    tells(&format!("UPDATE OR REPLACE token_auth_keys {taken}"), &["K", "L"]).await;
    let taken = "UPDATE OR REPLACE token_auth_keys SET key_id = 'L' WHERE key_id = 'K'";
    tells(taken, &["K", "L"]).await;
    // No key is replaced twice: what names the same predecessor is in the way as well.
    let heirs = "UPDATE token_auth_keys SET predecessor_id = 'M' WHERE key_id = 'L'";
    let taken = "UPDATE OR REPLACE token_auth_keys SET predecessor_id = 'M' WHERE key_id = 'K'";
    tells_behind(heirs, taken, &["K", "L"]).await;
    let heir = replace(&nobody, &digest_of("other").to_hex())
        .replace("is_active)", "is_active, predecessor_id)")
        .replace("0, 0, 1)", "0, 0, 1, 'M')");
    tells_behind(heirs, &heir, &["L", NOBODY]).await;
    let upsert = replace("'K'", &digest_of("k").to_hex()).replace("REPLACE", "INSERT");
    let upsert = format!("{upsert} ON CONFLICT (digest) DO UPDATE SET is_active = 0");
    tells(&upsert, &["K"]).await;
    let owner = "REPLACE INTO token_auth_owners VALUES ('ada', 'ada', 0, 0, 0)";
    tells(owner, &["ada"]).await;
}

/// Seen to fail with triggers on every column, and with conditions left out.
#[tokio::test]
async fn what_does_not_count_is_not_told() {
    for sql in [
        "UPDATE token_auth_keys SET last_used_at = 1",
        "UPDATE token_auth_keys SET name = 'x', tags = '[]', updated_at = 1, description = 'd'",
        "UPDATE token_auth_keys SET is_active = is_active, scopes = scopes, account_id = NULL",
        "UPDATE token_auth_owners SET username = 'x', is_active = is_active",
        "UPDATE token_auth_memberships SET account_id = account_id",
        "CREATE TEMP TABLE mine (a); INSERT INTO mine VALUES (1)",
    ] {
        tells(sql, &[]).await;
    }
    let database = Database::with_a_key().await;
    let (store, mut feed) = listening(&database).await;
    let key = store.find(digest_of("t")).await.unwrap().unwrap().key().clone();
    let at = key.created_at();
    let key_use = KeyUse { key: key.id(), digest: *key.digest(), at, if_before: at };
    assert_eq!(store.record_uses(&[key_use]).await.unwrap(), 1);
    assert_eq!(told(&mut feed).await, []);
}

/// The triggers run in whatever program writes: in the oldest one at hand.
///
/// Seen to fail without `keys_changed`, and without `keys_removed`.
#[tokio::test]
async fn another_program_s_changes_are_told() {
    let database = Database::with_a_key().await;
    let (store, mut feed) = listening(&database).await;
    let id = store.find(digest_of("t")).await.unwrap().unwrap().id();
    shell::run(&database.path, "UPDATE token_auth_keys SET is_active = 0;");
    assert_eq!(told(&mut feed).await, [Subject::Key(id)]);
    shell::run(&database.path, "DELETE FROM token_auth_keys;");
    assert_eq!(told(&mut feed).await, [Subject::Key(id)]);
}

/// More rows than one read takes: told in parts, and the probe is answered behind the last.
///
/// Seen to fail with a probe that is answered while rows are left.
#[tokio::test]
async fn a_change_of_thousands_of_rows_is_told_whole() {
    let database = Database::new();
    let (store, mut feed) = listening(&database).await;
    let mut connection = database.connection().await;
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
               INSERT INTO token_auth_owners SELECT 'o' || i, '', 1, 0, 0 FROM n";
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    let told = told(&mut feed).await;
    assert_eq!(told.len(), 2_500);
    for (subject, number) in told.iter().zip(1..) {
        assert_eq!(*subject, Subject::Owner(format!("o{number}").into()));
    }
    drop(store);
}

/// Where days lie between two changes, the next one is told as ever.
///
/// Seen to fail with rows pruned by age up to the new one: "pruned or emptied behind this process".
#[tokio::test]
async fn a_quiet_log_has_no_gap() {
    let database = Database::with_a_key().await;
    let (store, mut feed) = listening(&database).await;
    let id = store.find(digest_of("t")).await.unwrap().unwrap().id();
    let mut connection = database.connection().await;
    for _ in 0..10 {
        for sql in [
            "UPDATE token_auth_changes SET at = at - 86401",
            "UPDATE token_auth_keys SET is_active = 1 - is_active",
        ] {
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
        assert_eq!(told(&mut feed).await, [Subject::Key(id)]);
    }
}

/// Bounded by size, and by age while changes come in; the last row always stays.
///
/// Seen to fail without the trigger `changes_bounded`, and without each of its two statements.
#[tokio::test]
async fn the_log_is_bounded() {
    let database = Database::new();
    let (_store, _) = listening(&database).await;
    let mut connection = database.connection().await;
    let rows = async |connection: &mut sqlx::SqliteConnection| {
        let sql = "SELECT count(*) AS count, max(id) AS last FROM token_auth_changes";
        let row = sqlx::query(sql).fetch_one(connection).await.unwrap();
        (row.get::<i64, _>("count"), row.get::<i64, _>("last"))
    };
    let add = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) \
               INSERT INTO token_auth_changes (kind, subject) SELECT 'owner', i FROM n";
    sqlx::query(add).execute(&mut connection).await.unwrap();
    assert_eq!(rows(&mut connection).await, (10_000, 12_001));
    let age = "UPDATE token_auth_changes SET at = at - 86401";
    sqlx::query(age).execute(&mut connection).await.unwrap();
    for _ in 0..4 {
        let add = "INSERT INTO token_auth_changes (kind, subject) VALUES ('all', '')";
        sqlx::query(add).execute(&mut connection).await.unwrap();
    }
    // Each new one takes the one that the size allows no more, and two that are old.
    assert_eq!(rows(&mut connection).await, (10_000 + 4 - 4 * 3 + 3, 12_005));
}

/// Dropped at each of its awaits, and asked again: nothing is lost and nothing told twice.
///
/// Seen to fail with `Ear::look` that takes the version for seen before it has read the log.
#[tokio::test]
async fn a_dropped_next_loses_nothing() {
    let database = Database::new();
    let (store, feed) = listening(&database).await;
    let mut feed = feed.look_every(Duration::from_millis(1));
    for round in 0..60_usize {
        let owner = Owner::new(format!("o{round}"));
        let mut add = |_: Option<&Owner>, _: Option<&Owner>| Some(owner.clone());
        store.change_owner(owner.id(), None, &mut add).await.unwrap();
        let mut told = polled(&mut feed, 1 + round % 12).await;
        if told.is_none() {
            let next = tokio::time::timeout(Duration::from_secs(10), feed.next()).await;
            told = Some(next.unwrap_or_else(|_| panic!("round {round}: the change is not told")));
        }
        let expected = Heard::Revoked(vec![Subject::Owner(owner.id().clone())]);
        assert_eq!(told.unwrap().unwrap(), expected, "round {round}");
    }
    assert_eq!(self::told(&mut feed).await, []);
}

/// Polls the feed when it was woken, and drops what it waits for after so many times.
async fn polled(feed: &mut SqliteFeed, times: usize) -> Option<Result<Heard, StoreError>> {
    let (mut next, mut polls) = (pin!(feed.next()), 0);
    poll_fn(|cx| {
        if polls == times {
            return Poll::Ready(None);
        }
        polls += 1;
        next.as_mut().poll(cx).map(Some)
    })
    .await
}

/// A lock that somebody holds is no gap, and no proof of life either: it is asked again.
///
/// Seen to fail with a lock that is an error like any other, and with a probe answered behind one.
#[tokio::test]
async fn a_locked_database_is_waited_for() {
    let database = Database::new();
    let mut other = database.connection().await;
    // Without WAL a writer keeps readers out.
    sqlx::query("PRAGMA journal_mode = DELETE").execute(&mut other).await.unwrap();
    let pool = database.pool().await;
    let store = SqliteStore::from_pool(pool).await.unwrap();
    issue(&store, "t").await;
    let mut feed = store.feed();
    feed.listen().await.unwrap();
    assert_eq!(self::told(&mut feed).await, []);
    let mut lock = other.begin_with("BEGIN EXCLUSIVE").await.unwrap();
    sqlx::query("UPDATE token_auth_keys SET is_active = 0").execute(&mut *lock).await.unwrap();
    feed.probe(1).await.unwrap();
    // Past the time for which it waits at each look.
    let heard = tokio::time::timeout(Duration::from_millis(1_500), feed.next()).await;
    assert!(heard.is_err(), "{heard:?}");
    lock.commit().await.unwrap();
    assert!(matches!(feed.next().await.unwrap(), Heard::Revoked(subjects) if subjects.len() == 1));
    assert_eq!(feed.next().await.unwrap(), Heard::Alive(1));
}

/// A feed that has not listened, or whose store was closed, says so and does not hang.
///
/// Seen to fail with a closed store that nobody asks about.
#[tokio::test]
async fn a_feed_that_cannot_listen_says_why() {
    let database = Database::with_a_key().await;
    let store = SqliteStore::open(&database.path).await.unwrap();
    let mut feed = store.feed();
    assert!(feed.next().now_or_never().is_none(), "it looks first");
    let error = error_of(&mut feed).await;
    assert!(error.contains("does not listen"), "{error}");
    feed.listen().await.unwrap();
    store.close().await;
    for error in [error_of(&mut feed).await, feed.listen().await.unwrap_err().to_string()] {
        assert!(error.contains("was closed"), "{error}");
    }
    // Negative control: without the question about it, this feed listens, and hears nothing for ever.
    let url = format!("sqlite:{}?immutable=1", database.path.display());
    let immutable = SqliteStore::open(url).await.unwrap();
    let error = immutable.feed().listen().await.unwrap_err().to_string();
    assert!(error.contains("`immutable`; leave that or the feed out"), "{error}");
    let memory = SqliteStore::open(":memory:").await.unwrap();
    let error = memory.feed().listen().await.unwrap_err().to_string();
    assert!(error.contains("memory") && error.contains("leave its feed out"), "{error}");
    let pool = sqlx::SqlitePool::connect("sqlite::memory:").await.unwrap();
    let memory = SqliteStore::from_pool(pool).await.unwrap();
    let error = memory.feed().listen().await.unwrap_err().to_string();
    assert!(error.contains("leave its feed out"), "{error}");
}

/// A role that may only read hears as long as the triggers are there, and says what to do if not.
///
/// Seen to fail with a log that is taken for whole without a look, and with one that is not put right; without
/// the words for a role that may not write; and with an ear that is kept when listening fails.
#[tokio::test]
async fn a_read_only_role_can_listen() {
    let database = Database::with_a_key().await;
    let url = format!("sqlite:{}?mode=ro", database.path.display());
    let reader = SqliteStore::open(url).await.unwrap();
    let mut feed = reader.feed();
    feed.listen().await.unwrap();
    let mut other = database.connection().await;
    sqlx::query("UPDATE token_auth_keys SET is_active = 0").execute(&mut other).await.unwrap();
    assert_eq!(told(&mut feed).await.len(), 1);
    sqlx::query("DROP TRIGGER token_auth_keys_changed").execute(&mut other).await.unwrap();
    let error = error_of(&mut feed).await;
    assert!(error.contains("the schema changed"), "{error}");
    let error = feed.listen().await.unwrap_err().to_string();
    assert!(error.contains("may not write") && error.contains("open the database once"), "{error}");
    let error = error_of(&mut feed).await;
    assert!(error.contains("does not listen"), "what it heard before is over: {error}");
    // One that may puts it right for both.
    let writer = SqliteStore::open(&database.path).await.unwrap();
    writer.feed().listen().await.unwrap();
    feed.listen().await.unwrap();
    sqlx::query("UPDATE token_auth_keys SET is_active = 1").execute(&mut other).await.unwrap();
    assert_eq!(told(&mut feed).await.len(), 1);
}

/// Tables from before there was a log, opened anew or found by a feed.
///
/// Seen to fail without each of the triggers (13 are counted), and, found by a feed, with older tables not
/// migrated in `repair_as_writer` (their version is not written down).
#[tokio::test]
async fn older_tables_are_brought_up_to_date() {
    for is_open in [false, true] {
        let database = Database::with_a_key().await;
        let open = SqliteStore::open(&database.path).await.unwrap();
        let mut other = database.connection().await;
        let version = "SELECT max(version) FROM token_auth_migrations";
        let known: i64 = sqlx::query_scalar(version).fetch_one(&mut other).await.unwrap();
        let tables = "SELECT 'DROP TABLE ' || name FROM sqlite_schema WHERE name = 'token_auth_changes' \
             UNION ALL SELECT 'DROP TRIGGER ' || name FROM sqlite_schema WHERE type = 'trigger'";
        let drops: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut other).await.unwrap();
        assert_eq!(drops.len(), 13);
        // The triggers first: they name the table.
        for drop in drops.iter().rev() {
            let drop = AssertSqlSafe(drop.clone());
            sqlx::query(drop).execute(&mut other).await.unwrap();
        }
        let older = "DELETE FROM token_auth_settings WHERE name = 'changes_epoch'; \
                     DELETE FROM token_auth_migrations \
                     WHERE version = (SELECT max(version) FROM token_auth_migrations)";
        sqlx::raw_sql(older).execute(&mut other).await.unwrap();
        let store = if is_open { open } else { SqliteStore::open(&database.path).await.unwrap() };
        let mut feed = store.feed();
        feed.listen().await.unwrap();
        assert!(store.find(digest_of("t")).await.unwrap().is_some());
        sqlx::query("UPDATE token_auth_keys SET is_active = 0").execute(&mut other).await.unwrap();
        assert_eq!(told(&mut feed).await.len(), 1);
        let now: i64 = sqlx::query_scalar(version).fetch_one(&mut other).await.unwrap();
        assert_eq!(now, known, "open before: {is_open}");
    }
}

/// A release that does not know the tables leaves them alone.
///
/// Seen to fail with a log that is taken for whole without a look.
#[tokio::test]
async fn the_log_of_a_newer_release_is_not_put_right() {
    let database = Database::with_a_key().await;
    let (_store, mut feed) = listening(&database).await;
    let mut other = database.connection().await;
    let newer = "INSERT INTO token_auth_migrations VALUES (99, 0); \
                 DROP TRIGGER token_auth_keys_changed";
    sqlx::raw_sql(newer).execute(&mut other).await.unwrap();
    error_of(&mut feed).await;
    let error = feed.listen().await.unwrap_err().to_string();
    assert!(error.contains("version 99") && error.contains("newer"), "{error}");
}

/// Counts what is read of a store.
struct Counting {
    store: SqliteStore,
    reads: Arc<AtomicUsize>,
}

impl KeyStore for Counting {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.store.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.store.find(digest).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.store.find_many(digests).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        self.store.record_uses(uses).await
    }
}

/// Rule 15: the recorder writes each key's last use, to the very database that the feed listens to,
/// and nothing that is cached goes.
///
/// Seen to fail with `last_used_at` among the columns of `keys_changed` (200 reads), and with a feed
/// that tells of every move of `data_version` (the same).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_of_last_uses_drops_nothing() {
    const KEYS: usize = 100;
    let database = Database::new();
    let store = SqliteStore::open(&database.path).await.unwrap();
    for number in 0..KEYS {
        issue(&store, &number.to_string()).await;
    }
    let reads = Arc::new(AtomicUsize::new(0));
    let counting = Counting { store: store.clone(), reads: Arc::clone(&reads) };
    let builder = Authenticator::read_only(counting).feed(store.feed());
    let (auth, guard) = builder.fresh_ttl(Duration::from_secs(3_600)).build().unwrap();
    revocations::healthy(&auth).await;
    let mut witness = store.feed();
    witness.listen().await.unwrap();
    for number in 0..KEYS {
        assert!(auth.authenticate(&number.to_string()).await.is_ok());
    }
    guard.shutdown(Duration::from_secs(10)).await;
    let sql = "SELECT count(*) FROM token_auth_keys WHERE last_used_at IS NOT NULL";
    let written = sqlx::query_scalar(sql).fetch_one(&mut database.connection().await).await;
    assert_eq!(written.unwrap_or(0_i64), KEYS as i64);
    assert_eq!(told(&mut witness).await, [], "no row of the log");
    // The authenticator's own feed has looked as well, once it has told of a change behind them.
    let last = issue(&store, "last").await;
    assert!(auth.authenticate("last").await.is_ok());
    crate::support::remove(&store, last.id()).await.unwrap();
    let refused = async {
        while auth.authenticate("last").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), refused).await.expect("the change is told");
    let before = reads.load(Ordering::SeqCst);
    for number in 0..KEYS {
        assert!(auth.authenticate(&number.to_string()).await.is_ok());
    }
    // That one change may have a stamp in common with one or two of them.
    let again = reads.load(Ordering::SeqCst) - before;
    assert!(again < 5, "{again} of {KEYS} were dropped");
}
