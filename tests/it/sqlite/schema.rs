//! Tables, query plans, and life beside a user's own migrations.

use std::fs;

use sqlx::{SqliteConnection, migrate::Migrator};
use tower_token_auth::{SqliteStore, store::KeyStore as _};

use super::{Database, digest_of, issue};

/// Every table and index with its definition; SQLite's own and the user's left out.
async fn definitions(connection: &mut SqliteConnection) -> Vec<(String, Option<String>)> {
    let sql = "SELECT name, sql FROM sqlite_schema WHERE name LIKE '%token_auth_%' ORDER BY name";
    sqlx::query_as(sql).fetch_all(connection).await.unwrap()
}

#[tokio::test]
async fn the_printed_ddl_makes_the_same_tables() {
    let (ours, bare) = (Database::new(), Database::new());
    SqliteStore::open(&ours.path).await.unwrap().close().await;
    let ddl = SqliteStore::options().ddl();
    let mut connection = bare.connection().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(ddl)).execute(&mut connection).await.unwrap();

    let made = definitions(&mut ours.connection().await).await;
    assert_eq!(made, definitions(&mut connection).await);
    let tables = ["changes", "keys", "memberships", "migrations", "owners", "settings"];
    for table in tables.map(|table| format!("token_auth_{table}")) {
        let (_, sql) = made.iter().find(|(name, _)| *name == table).expect("the table is there");
        assert!(sql.as_ref().unwrap().contains("STRICT"), "{table}");
    }
    let store = SqliteStore::open(&bare.path).await.unwrap();
    issue(&store, "t").await;
    assert_eq!(definitions(&mut connection).await, made, "opening it changed nothing");
}

#[tokio::test]
async fn a_user_s_own_migrations_run_before_and_after_ours() {
    let database = Database::new();
    let folder = database.folder.path().join("migrations");
    fs::create_dir(&folder).unwrap();
    let pool = database.pool().await;
    let migrate = async || {
        let migrator = Migrator::new(folder.as_path()).await.unwrap();
        migrator.run(&pool).await.unwrap();
    };
    fs::write(folder.join("1_first.sql"), "CREATE TABLE notes (body TEXT);").unwrap();
    migrate().await;
    let store = SqliteStore::from_pool(pool.clone()).await.unwrap();
    issue(&store, "t").await;
    fs::write(folder.join("2_second.sql"), "ALTER TABLE notes ADD COLUMN owner TEXT;").unwrap();
    migrate().await;
    let store = SqliteStore::from_pool(pool.clone()).await.unwrap();
    assert!(store.find(digest_of("t")).await.unwrap().is_some());
    let theirs = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(&pool).await;
    assert_eq!(theirs.unwrap_or(0_i64), 2);
    let sql = "SELECT version FROM token_auth_migrations";
    let ours: Vec<i64> = sqlx::query_scalar(sql).fetch_all(&pool).await.unwrap();
    assert_eq!(ours, (1..=ours.len() as i64).collect::<Vec<_>>(), "each version once");
    store.close().await;
    assert!(!pool.is_closed(), "a pool of the user's stays open");
}

/// Neither the file's journal nor a connection's settings are ours to change.
#[tokio::test]
async fn a_pool_of_the_user_s_keeps_its_settings() {
    let database = Database::new();
    let connect = super::connect(&database.path).foreign_keys(false);
    let connect = connect.synchronous(sqlx::sqlite::SqliteSynchronous::Normal);
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_with(connect);
    let pool = pool.await.unwrap();
    let store = SqliteStore::from_pool(pool.clone()).await.unwrap();
    issue(&store, "t").await;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await.unwrap();
    let sync: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&pool).await.unwrap();
    let keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&pool).await.unwrap();
    assert_eq!((mode.as_str(), sync, keys), ("delete", 1, 0));
}
