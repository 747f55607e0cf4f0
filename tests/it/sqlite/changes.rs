//! Changes that meet trouble: garbage rows, locks, full disks, deleted owners, dropped futures.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, sqlite::SqlitePoolOptions};
use tower_token_auth::{
    Owner, SqliteStore,
    store::{KeyQuery, KeyRepository as _, KeyStore as _, KeyUse},
};

use super::{Database, connect, digest_of, issue, key_of};

/// Neither absent, nor without expiry, nor active: an error. The control is the row before it was
/// spoiled, which is found.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error() {
    let spoiled = [
        ("keys", "key_id = 'not a uuid'"),
        ("keys", "expires_at = 9223372036854775807"),
        ("keys", "created_at = -9223372036854775808"),
        ("keys", "is_active = 2"),
        ("keys", "tags = 'a, b'"),
        ("keys", "tags = '[1]'"),
        ("keys", "scopes = '{}'"),
        ("keys", "annotations = '{\"a\": null}'"),
        ("keys", "last_used_at = 9223372036854775807"),
        ("owners", "is_active = 7"),
        ("owners", "is_staff = -1"),
    ];
    for (table, change) in spoiled {
        let database = Database::with_a_key().await;
        let store = SqliteStore::open(&database.path).await.unwrap();
        assert!(store.find(digest_of("t")).await.unwrap().is_some());
        let mut connection = database.connection().await;
        let sql =
            format!("PRAGMA ignore_check_constraints = ON; UPDATE token_auth_{table} SET {change}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        let errors = [
            store.find(digest_of("t")).await.map(drop).expect_err(change),
            store.find_many(&[digest_of("t")]).await.map(drop).expect_err(change),
            store.list(KeyQuery::first(9)).await.map(drop).expect_err(change),
        ];
        for error in errors {
            assert!(!error.is_unavailable() && !error.is_definite(), "{change}: {error:?}");
            assert!(!format!("{error:?}").contains(&digest_of("t").to_hex()), "{error:?}");
        }
    }
}

#[tokio::test]
async fn the_tables_refuse_what_would_never_be_found() {
    let database = Database::with_a_key().await;
    let mut connection = database.connection().await;
    for change in ["digest = upper(digest)", "digest = 'ab'", "expires_at = 'soon'", "tags = '['"] {
        let sql = AssertSqlSafe(format!("UPDATE token_auth_keys SET {change}"));
        sqlx::query(sql).execute(&mut connection).await.expect_err(change);
    }
}

/// Whether the connection that deleted the owner enforces foreign keys or not.
#[tokio::test]
async fn a_key_whose_owner_was_deleted_is_no_key() {
    for enforced in ["ON", "OFF"] {
        let database = Database::with_a_key().await;
        let store = SqliteStore::open(&database.path).await.unwrap();
        let mut connection = database.connection().await;
        let sql = format!("PRAGMA foreign_keys = {enforced}; DELETE FROM token_auth_owners");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        assert!(store.find(digest_of("t")).await.unwrap().is_none(), "{enforced}");
        assert!(store.list(KeyQuery::first(9)).await.unwrap().is_empty(), "{enforced}");
    }
}

/// Another process' lock is trouble that passes; reads go on meanwhile.
#[tokio::test]
async fn a_lock_that_is_held_too_long_applies_no_change_and_leaves_reads() {
    let database = Database::with_a_key().await;
    let options = SqliteStore::options().busy_timeout(Duration::from_millis(1));
    let store = options.open(&database.path).await.unwrap();
    let mut other = database.connection().await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error =
        store.insert(key_of("u"), Owner::staff("ada"), None, &mut |_, _| true).await.unwrap_err();
    assert!(error.is_not_applied() && error.is_definite(), "{error:?}");
    assert!(store.find(digest_of("t")).await.unwrap().is_some());
    lock.rollback().await.unwrap();
    issue(&store, "u").await;
}

/// A full disk ends the transaction inside SQLite: the connection must not stay stuck in it. The
/// control: without the look at `is_in_transaction`, every later change fails.
#[tokio::test]
async fn changes_go_on_after_a_full_disk() {
    let database = Database::with_a_key().await;
    let pool = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false);
    let pool = pool.connect_with(connect(&database.path)).await.unwrap();
    let store = SqliteStore::from_pool(pool.clone()).await.unwrap();
    sqlx::query("PRAGMA max_page_count = 1").execute(&pool).await.unwrap();
    let mut errors = 0;
    for n in 0..50 {
        let key = key_of(&format!("{n}")).with_description(Some("x".repeat(10_000)));
        if let Err(error) = store.insert(key, Owner::staff("ada"), None, &mut |_, _| true).await {
            assert!(error.is_not_applied(), "it was rolled back: {error:?}");
            errors += 1;
            break;
        }
    }
    assert_eq!(errors, 1, "the disk was meant to be full");
    if let Ok(mut connection) = pool.acquire().await {
        sqlx::query("PRAGMA max_page_count = 1000000").execute(&mut *connection).await.unwrap();
    }
    issue(&store, "after").await;
    assert!(store.find(digest_of("after")).await.unwrap().is_some());
}

/// Dropped at each of its awaits, over and over: the one writing connection is never lost.
#[tokio::test]
async fn a_dropped_change_leaves_nothing_half_done() {
    let database = Database::with_a_key().await;
    let store = SqliteStore::open(&database.path).await.unwrap();
    for n in 0..200_u32 {
        let token = format!("dropped {n}");
        let owner = Owner::staff(n).with_accounts(["a"]);
        let key = tower_token_auth::ApiKey::new(
            tower_token_auth::KeyId::random(),
            digest_of(&token),
            n.into(),
            key_of("t").created_at(),
        );
        let mut judge = |_: &Owner, _: Option<&Owner>| true;
        let insert = store.insert(key, owner.clone(), None, &mut judge);
        tokio::select! {
            biased;
            _ = insert => {}
            () = async { for _ in 0..n { tokio::task::yield_now().await } } => {}
        }
        // Behind it in the same connection's queue: the dropped one is settled by now.
        let ada = crate::support::edit_owner(&store, &"ada".into(), |ada| Some(ada.clone())).await;
        ada.unwrap();
        let key = store.find(digest_of(&token)).await.unwrap();
        let stored = store.owner(owner.id()).await.unwrap();
        assert_eq!(key.is_some(), stored.is_some(), "{n}");
        assert!(stored.is_none_or(|stored| stored == owner), "{n}");
    }
}

/// A user's own unique index is no duplicate id: the caller must not be told to take another id.
#[tokio::test]
async fn another_index_s_refusal_is_no_duplicate() {
    let database = Database::with_a_key().await;
    let store = SqliteStore::open(&database.path).await.unwrap();
    let sql = "CREATE UNIQUE INDEX own ON token_auth_keys (name)";
    sqlx::query(sql).execute(&mut database.connection().await).await.unwrap();
    let key = key_of("u").with_name("t");
    let error = store.insert(key, Owner::staff("ada"), None, &mut |_, _| true).await.unwrap_err();
    assert!(error.is_not_applied(), "{error:?}");
}

/// A use names its key twice over, and many of one key are one row.
#[tokio::test]
async fn uses_are_written_by_key_and_digest_together() {
    let database = Database::with_a_key().await;
    let store = SqliteStore::open(&database.path).await.unwrap();
    let key = store.find(digest_of("t")).await.unwrap().unwrap().key().clone();
    let at = key.created_at();
    let wrong = KeyUse { key: key.id(), digest: digest_of("other"), at, if_before: at };
    assert_eq!(store.record_uses(&[wrong]).await.unwrap(), 0);
    let many: Vec<_> = (0..5000).map(|_| KeyUse { digest: *key.digest(), ..wrong }).collect();
    assert_eq!(store.record_uses(&many).await.unwrap(), 1);
}
