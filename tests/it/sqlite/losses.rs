//! I5: every way in which the feed of a SQLite database can lose something: each is a gap.
//!
//! A key is revoked while the feed can't hear it. Past the bound nobody is admitted by it any more,
//! although its fresh TTL is an hour.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use sqlx::AssertSqlSafe;
use tower_token_auth::{Authenticator, AuthenticatorBuilder, RejectionKind, SqliteStore};

use super::{Database, connect, issue};
use crate::support::{revocations, shell};

/// Within which a change holds whatever becomes of the feed. It takes a fraction of a second here, as
/// each gap is found, and the feed listens again at once.
pub(super) const BOUND: Duration = Duration::from_secs(10);
/// Where the feed can't listen again: for so long may the cache be relied on.
const SHORT_TTL: Duration = Duration::from_millis(500);
const HOUR: Duration = Duration::from_secs(3_600);

/// An authenticator whose feed is healthy and which has admitted the key of the token `t`. Its
/// runtime has one thread, so that the feed sleeps while a test keeps that thread busy.
pub(super) struct Setup {
    database: Database,
    pub(super) store: SqliteStore,
    pub(super) auth: Authenticator,
}

impl Setup {
    async fn new() -> Self {
        let database = Database::new();
        let store = SqliteStore::open(&database.path).await.unwrap();
        Self::over(database, store).await
    }

    async fn over(database: Database, store: SqliteStore) -> Self {
        Self::with(database, store, |builder| builder).await
    }

    pub(super) async fn with(
        database: Database,
        store: SqliteStore,
        set: impl FnOnce(AuthenticatorBuilder) -> AuthenticatorBuilder,
    ) -> Self {
        issue(&store, "t").await;
        let builder = Authenticator::builder(store.clone()).feed(store.feed());
        let (auth, _guard) = set(builder.fresh_ttl(HOUR)).build().unwrap();
        let setup = Self { database, store, auth };
        setup.is_healthy().await;
        assert!(setup.auth.authenticate("t").await.is_ok());
        setup
    }

    pub(super) async fn is_healthy(&self) {
        revocations::healthy(&self.auth).await;
    }

    /// Runs statements in a transaction of another connection, while the feed sleeps.
    pub(super) fn asleep(&self, sql: &str) {
        elsewhere(&self.database.path, sql).expect(sql);
    }

    /// Refused as `kind` within the bound, and from then on.
    pub(super) async fn is_refused_as(&self, kind: RejectionKind) {
        let refused = async {
            loop {
                match self.auth.authenticate("t").await {
                    Ok(_) => tokio::task::yield_now().await,
                    Err(refusal) if refusal.kind() == kind => return,
                    // While the connections are made anew.
                    Err(refusal) => assert!(refusal.kind().is_unavailable(), "{refusal:?}"),
                }
            }
        };
        let waited = tokio::time::timeout(BOUND, refused).await;
        assert!(waited.is_ok(), "still admitted; the feed is {}", self.auth.feed_health());
        for _ in 0..1_000 {
            let decision = self.auth.authenticate("t").await;
            assert!(decision.is_err(), "admitted again");
        }
    }

    /// Neither admitted nor told anything about the key, within the bound and from then on.
    async fn is_unavailable(&self) {
        let unavailable = async {
            while self.auth.authenticate("t").await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(BOUND, unavailable).await;
        assert!(waited.is_ok(), "still admitted; the feed is {}", self.auth.feed_health());
        for _ in 0..1_000 {
            let refusal = self.auth.authenticate("t").await.unwrap_err();
            assert!(refusal.kind().is_unavailable(), "{refusal:?}");
        }
    }

    /// Admitted within the bound.
    async fn is_admitted_again(&self) {
        let admitted = async {
            while self.auth.authenticate("t").await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, admitted).await.expect("the store is back");
    }

    /// The feed is what it was: a change that is made now holds within the bound.
    pub(super) async fn tells_again(&self) {
        for (change, is_ok) in [("1", true), ("0", false)] {
            self.asleep(&format!("UPDATE token_auth_keys SET is_active = {change}"));
            let holds = async {
                while self.auth.authenticate("t").await.is_ok() != is_ok {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(BOUND, holds).await.expect("the change is told");
        }
    }

    /// A copy of the database as it is now, with every change of its own.
    fn backup(&self, changed_by: &str) -> PathBuf {
        let backup = self.database.folder.path().join("backup.db");
        shell::run(&self.database.path, &format!("VACUUM INTO '{}'", backup.display()));
        if !changed_by.is_empty() {
            shell::run(&backup, changed_by);
        }
        backup
    }
}

/// Statements on a thread and a connection of their own, all in one transaction.
fn elsewhere(path: &Path, sql: &str) -> Result<(), sqlx::Error> {
    use sqlx::ConnectOptions as _;
    let (path, sql) = (path.to_owned(), format!("BEGIN IMMEDIATE; {sql}; COMMIT"));
    let done = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = connect(&path).connect().await?;
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.map(drop)
        })
    });
    done.join().unwrap()
}

pub(super) const SWITCH_OFF: &str = "UPDATE token_auth_keys SET is_active = 0";

/// The control of this file: with the feed left out, the key is admitted for an hour. It fails with a driver
/// that does not outdate what it hears of.
#[tokio::test]
async fn control_without_a_feed_it_is_still_admitted() {
    let setup = Setup::new().await;
    let builder = Authenticator::builder(setup.store.clone());
    let (deaf, _guard) = builder.fresh_ttl(HOUR).build().unwrap();
    assert!(deaf.authenticate("t").await.is_ok());
    setup.asleep(SWITCH_OFF);
    setup.is_refused_as(RejectionKind::KeyInactive).await;
    assert!(deaf.authenticate("t").await.is_ok());
}

/// Seen to fail without the looks at number, nonce and missing rows in `Ear::take`.
#[tokio::test]
async fn the_log_was_pruned_under_a_sleeping_reader() {
    let setup = Setup::new().await;
    let others = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 11000) \
                  INSERT INTO token_auth_owners SELECT 'o' || i, '', 1, 0, 0 FROM n";
    setup.asleep(&format!("{SWITCH_OFF}; {others}"));
    setup.is_refused_as(RejectionKind::KeyInactive).await;
    setup.is_healthy().await;
}

/// Its rows alone, its rows with some written since, and its count as well, so that the numbers are
/// given out anew.
///
/// Seen to fail, at the third, without the look at the nonce in `Ear::check`; at the second, without
/// those at the number and at missing rows as well.
#[tokio::test]
async fn the_log_was_emptied_by_hand() {
    let empty = "DELETE FROM token_auth_changes";
    let rename = "INSERT INTO token_auth_owners VALUES ('eve', '', 1, 0, 0)";
    // The first row stays, so that the number at which the reader stands is given out anew.
    let anew = "DELETE FROM token_auth_changes WHERE id >= \
                (SELECT max(id) FROM token_auth_changes); \
                UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM token_auth_changes) \
                WHERE name = 'token_auth_changes'";
    for sql in [
        format!("{SWITCH_OFF}; {empty}"),
        format!("{SWITCH_OFF}; {empty}; {rename}"),
        format!("{anew}; {SWITCH_OFF}"),
        format!("{SWITCH_OFF}; {empty}; DELETE FROM sqlite_sequence"),
    ] {
        let setup = Setup::new().await;
        setup.asleep(&sql);
        setup.is_refused_as(RejectionKind::KeyInactive).await;
        setup.is_healthy().await;
    }
}

/// A row in the log that nobody can read, one that says "everything", and an epoch that changed.
///
/// Seen to fail, at the last, without the look at the epoch in `Ear::check`.
#[tokio::test]
async fn the_log_says_what_nobody_knows() {
    let add = "INSERT INTO token_auth_changes (kind, subject)";
    let forget =
        "DELETE FROM token_auth_changes WHERE id = (SELECT max(id) FROM token_auth_changes)";
    for word in [
        format!("{add} VALUES ('key', 'no uuid')"),
        format!("{add} VALUES ('account', 'a')"),
        format!("{add} VALUES ('all', '')"),
        "UPDATE token_auth_settings SET value = 'other' WHERE name = 'changes_epoch'".to_owned(),
    ] {
        let setup = Setup::new().await;
        // Behind a change whose own row is taken out again, numbers and all.
        let seq = "UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM token_auth_changes) \
                   WHERE name = 'token_auth_changes'";
        setup.asleep(&format!("{SWITCH_OFF}; {forget}; {seq}; {word}"));
        setup.is_refused_as(RejectionKind::KeyInactive).await;
        setup.is_healthy().await;
    }
}

/// Dropped, and found missing; dropped and made again as they were before anybody looked; altered.
///
/// Seen to fail without the schema's version in `Ear::check`: no row says anything then.
#[tokio::test]
async fn triggers_were_dropped() {
    let database = Database::with_a_key().await;
    let sql = "SELECT sql FROM sqlite_schema WHERE name = 'token_auth_keys_changed'";
    let definition: String =
        sqlx::query_scalar(sql).fetch_one(&mut database.connection().await).await.unwrap();
    let altered = definition.replace("OLD.is_active IS NOT NEW.is_active", "0");
    assert_ne!(altered, definition);
    let drop = "DROP TRIGGER token_auth_keys_changed";
    for sql in [
        format!("{drop}; {SWITCH_OFF}"),
        format!("{drop}; {SWITCH_OFF}; {definition}"),
        format!("{drop}; {altered}; {SWITCH_OFF}"),
    ] {
        let setup = Setup::new().await;
        setup.asleep(&sql);
        setup.is_refused_as(RejectionKind::KeyInactive).await;
        setup.is_healthy().await;
        setup.tells_again().await;
    }
}

/// The triggers that are left can't write: every change fails until the feed has put the log right.
///
/// Seen to fail with a log that is taken for whole without a look, and with one that is not put right.
#[tokio::test]
async fn the_log_was_dropped() {
    let setup = Setup::new().await;
    setup.asleep("DROP TABLE token_auth_changes");
    let switched_off = async {
        let path = &setup.database.path;
        let tried = || {
            tokio::task::spawn_blocking({
                let path = path.clone();
                move || elsewhere(&path, SWITCH_OFF)
            })
        };
        while tried().await.unwrap().is_err() {}
    };
    let waited = tokio::time::timeout(BOUND, switched_off).await;
    assert!(waited.is_ok(), "not put right; the feed is {}", setup.auth.feed_health());
    setup.is_refused_as(RejectionKind::KeyInactive).await;
    setup.is_healthy().await;
    setup.tells_again().await;
}

/// Another file is put in its place, a copy with a change of its own. The store's connections follow:
/// they read and write the new one.
///
/// Seen to fail without the file's identity in `Ear::look` (still admitted), and without
/// `Pools::follow` (the same, although the feed is healthy).
#[tokio::test]
async fn the_file_was_replaced() {
    let setup = Setup::new().await;
    let backup = setup.backup(SWITCH_OFF);
    replace(&setup.database.path, &backup);
    setup.is_refused_as(RejectionKind::KeyInactive).await;
    setup.is_healthy().await;
    setup.tells_again().await;
    issue(&setup.store, "u").await;
    assert!(setup.auth.authenticate("u").await.is_ok());
    let other = SqliteStore::open(&setup.database.path).await.unwrap();
    assert!(
        tower_token_auth::store::KeyStore::find(&other, super::digest_of("u"))
            .await
            .unwrap()
            .is_some()
    );
}

/// The file is gone, or what came in its place is no database of ours: nobody is admitted, and nobody
/// told that their key is unknown. With the right file back, all is well.
///
/// Seen to fail without `Pools::set(None)` in `Pools::follow` (still admitted, by the deleted file),
/// and with an empty database taken for one to be set up (`Unknown`).
#[tokio::test]
async fn the_file_is_gone() {
    let database = Database::new();
    let store = SqliteStore::open(&database.path).await.unwrap();
    let setup = Setup::with(database, store, |builder| builder.short_ttl(SHORT_TTL)).await;
    let backup = setup.backup("");
    let empty = setup.database.folder.path().join("empty.db");
    shell::run(&empty, "CREATE TABLE mine (a)");
    for stranger in [None, Some(&empty)] {
        match stranger {
            None => remove(&setup.database.path),
            Some(empty) => replace(&setup.database.path, empty),
        }
        setup.is_unavailable().await;
        let copy = setup.database.folder.path().join("copy.db");
        fs::copy(&backup, &copy).unwrap();
        replace(&setup.database.path, &copy);
        setup.is_healthy().await;
        setup.is_admitted_again().await;
    }
    assert!(!setup.database.folder.path().join("copy.db").exists());
}

/// A pool of the user's keeps the deleted file open: it answers no more, and says what to do. If its
/// own file comes back, so does it.
///
/// Seen to fail without `Pools::set(None)` in `Pools::follow`: still admitted.
#[tokio::test]
async fn the_file_under_a_pool_of_the_user_s_was_replaced() {
    let database = Database::new();
    let store = SqliteStore::from_pool(database.pool().await).await.unwrap();
    let setup = Setup::with(database, store, |builder| builder.short_ttl(SHORT_TTL)).await;
    let backup = setup.backup(SWITCH_OFF);
    let path = &setup.database.path;
    let away = setup.database.folder.path().join("away.db");
    fs::rename(path, &away).unwrap();
    fs::rename(&backup, path).unwrap();
    setup.is_unavailable().await;
    let health = setup.auth.feed_health().to_string();
    assert!(health.contains("make a new pool"), "{health}");
    let change = setup
        .auth
        .keys()
        .list(tower_token_auth::KeyFilter::all(), tower_token_auth::Page::default())
        .await
        .unwrap_err();
    let source = std::error::Error::source(&change).and_then(|error| error.source());
    assert!(
        source.is_some_and(|error| error.to_string().contains("make a new pool")),
        "{change:?}"
    );
    fs::rename(&away, path).unwrap();
    setup.is_healthy().await;
    setup.is_admitted_again().await;
}

/// A backup is restored into the very file: one in which the key is inactive, with nothing done
/// since or with a change that takes the number at which the reader stands; and one from before the
/// key was made.
///
/// Seen to fail with a feed that looks at nothing but the rows behind its own: without the schema's
/// version, the nonce, and the look whether its own row is still there.
#[tokio::test]
async fn a_backup_was_restored() {
    for since in ["", "INSERT INTO token_auth_owners VALUES ('eve', '', 1, 0, 0)"] {
        let setup = Setup::new().await;
        setup.asleep(SWITCH_OFF);
        let backup = setup.backup("");
        setup.asleep("UPDATE token_auth_keys SET is_active = 1");
        setup.is_admitted_again().await;
        shell::restore(&setup.database.path, &backup);
        shell::run(&setup.database.path, since);
        setup.is_refused_as(RejectionKind::KeyInactive).await;
        setup.is_healthy().await;
        setup.tells_again().await;
    }
    let database = Database::new();
    let store = SqliteStore::open(&database.path).await.unwrap();
    let before = database.folder.path().join("before.db");
    shell::run(&database.path, &format!("VACUUM INTO '{}'", before.display()));
    let setup = Setup::over(database, store).await;
    shell::restore(&setup.database.path, &before);
    setup.is_refused_as(RejectionKind::Unknown).await;
}

/// Puts `other` in the place of the database, and takes the files away that belonged to the old one.
fn replace(path: &Path, other: &Path) {
    remove_beside(path);
    fs::rename(other, path).unwrap();
}

fn remove(path: &Path) {
    remove_beside(path);
    fs::remove_file(path).unwrap();
}

fn remove_beside(path: &Path) {
    for end in ["-wal", "-shm"] {
        let beside = format!("{}{end}", path.display());
        if let Err(error) = fs::remove_file(&beside) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{beside}");
        }
    }
}
