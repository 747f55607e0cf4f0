//! Which indices the lookups use, on each of the three databases.

use std::env;

use sqlx::{AssertSqlSafe, Executor as _, MySqlPool, PgPool, Row as _, sqlite::SqlitePoolOptions};

use super::{
    KnoxOptions, KnoxStore,
    session::{Pool, Statement},
};
use crate::value::key::KeyId;

/// The tables, and rows of one user: statistics that tempt a planner to begin with the users.
async fn filled(store: KnoxStore, rows: &str) -> KnoxStore {
    let sql = AssertSqlSafe(rows.to_owned());
    match &store.pool {
        Pool::Sqlite(file) => {
            let pool = file.pool().await.unwrap();
            sqlx::raw_sql(sql).execute(&pool).await.unwrap();
        }
        Pool::Postgres(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
        Pool::MySql(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
    }
    store
}

/// The lookups as they are sent.
fn lookups(store: &KnoxStore) -> Vec<Statement> {
    let by_digest = [1, 2, 256].map(|size| Statement {
        sql: store.statements.find(&store.schema, size),
        values: vec![Some("0".repeat(128)); size],
    });
    let id = if store.is_smarter() {
        KeyId::random()
    } else {
        "0f0e0d0c-0b0a-8908-8706-050403020100".parse().unwrap()
    };
    by_digest.into_iter().chain(store.by_id(id)).collect()
}

const USER: &str = "INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, \
     email, is_staff, is_active, date_joined) VALUES (1, '', false, 'ada', '', '', '', true, true, \
     '2026-01-02 03:04:05');";
const PROFILE: &str = "INSERT INTO account_account (id, created_at, updated_at) \
     VALUES (1, '2026-01-02 03:04:05', '2026-01-02 03:04:05'); \
     INSERT INTO account_userprofile (id, created_at, updated_at, user_id, account_id) \
     VALUES (1, '2026-01-02 03:04:05', '2026-01-02 03:04:05', 1, 1);";

/// As if half of all keys had one digest, and each user one key.
const TEMPTING: &str = "ANALYZE; DELETE FROM sqlite_stat1; INSERT INTO sqlite_stat1 VALUES \
     ('knox_authtoken', 'sqlite_autoindex_knox_authtoken_1', '1000000 500000'), \
     ('knox_authtoken', 'knox_authtoken_user_id', '1000000 1'), ('auth_user', NULL, '2'); \
     ANALYZE sqlite_schema;";

/// Rows for all of the tables; `numbers` is a query of the numbers `n`.
fn rows(is_smarter: bool, numbers: &str, hash: &str, uuid: &str) -> String {
    let mut sql = format!(
        "{USER} INSERT INTO knox_authtoken (digest, created, user_id, expiry, token_key) \
         SELECT {hash}, '2026-01-02 03:04:05', 1, NULL, 'abc' FROM {numbers};"
    );
    if is_smarter {
        sql.push_str(PROFILE);
        sql.push_str(&format!(
            "INSERT INTO drf_smarterauthtoken (authtoken_ptr_id, created_at, updated_at, name, \
             user_profile_id, key_id, is_active, tags) SELECT digest, created, created, 'a', 1, \
             {uuid}, true, '[]' FROM knox_authtoken;"
        ));
    }
    sql
}

fn ddl(text: &str, is_smarter: bool) -> String {
    let (plain, smarter) = text.split_once("-- smarter").unwrap();
    let whole = if is_smarter { format!("{plain}{smarter}") } else { plain.to_owned() };
    whole.replace("{uuid}", "char(32)")
}

/// Seen to fail without CROSS JOIN, under these statistics, as the users were looked through first.
#[tokio::test]
async fn lookups_search_the_primary_key_on_sqlite() {
    for is_smarter in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db.sqlite3");
        let url = format!("sqlite:{}?mode=rwc", path.display());
        // Statistics are read by each connection for itself.
        let pool = SqlitePoolOptions::new().max_connections(1).connect(&url).await.unwrap();
        let text = ddl(include_str!("../../../../tests/it/support/site/sqlite.sql"), is_smarter);
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&pool).await.unwrap();
        let store = KnoxOptions::default().from_sqlite_pool(pool.clone()).await.unwrap();
        let numbers = "(WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 2000) \
                       SELECT n FROM t)";
        let rows = rows(is_smarter, numbers, "printf('%0128x', n)", "substr(digest, 97)");
        let store = filled(store, &format!("{rows} {TEMPTING}")).await;
        for Statement { sql, values } in lookups(&store) {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.as_str()));
            let query = values.into_iter().fold(sqlx::query(explain), |query, v| query.bind(v));
            let plan: Vec<String> =
                query.fetch_all(&pool).await.unwrap().iter().map(|row| row.get("detail")).collect();
            // A table of one user may be looked through as well.
            let is_scan = |step: &String| ["SCAN k", "SCAN c"].contains(&step.as_str());
            assert!(!plan.iter().any(is_scan), "{plan:#?}");
            assert!(
                plan[0].contains("SEARCH k USING INDEX") || plan[0].contains("SEARCH c USING"),
                "{plan:#?}"
            );
        }
    }
}

/// Planned for any digests. Seen to fail with the digest's column in lower case.
#[tokio::test]
async fn lookups_search_the_primary_key_on_postgresql() {
    let Ok(url) = env::var("TEST_DATABASE_URL") else {
        println!("SKIPPED lookups_search_the_primary_key_on_postgresql: no TEST_DATABASE_URL");
        return;
    };
    for is_smarter in [false, true] {
        let name = format!("t_{}", KeyId::random().as_uuid().simple());
        let joint = if url.contains('?') { '&' } else { '?' };
        let pool = PgPool::connect(&format!("{url}{joint}options=-c%20search_path%3D{name}"))
            .await
            .unwrap();
        let text = ddl(include_str!("../../../../tests/it/support/site/postgres.sql"), is_smarter);
        let text = format!("CREATE SCHEMA {name}; {text}");
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&pool).await.unwrap();
        let store = KnoxOptions::default().from_postgres_pool(pool.clone()).await.unwrap();
        let rows = rows(
            is_smarter,
            "generate_series(1, 20000) AS n",
            "encode(sha512(n::text::bytea), 'hex')",
            "gen_random_uuid()",
        );
        let store = filled(store, &format!("{rows} ANALYZE;")).await;
        let mut link = pool.acquire().await.unwrap();
        link.execute("SET plan_cache_mode = force_generic_plan").await.unwrap();
        for (number, Statement { sql, values }) in lookups(&store).into_iter().enumerate() {
            let prepare = AssertSqlSafe(format!("PREPARE s{number} AS {}", sql.as_str()));
            sqlx::raw_sql(prepare).execute(&mut *link).await.unwrap();
            let id = KeyId::random();
            let value = if number == 3 && is_smarter { id.to_string() } else { "a".into() };
            let values = vec![format!("'{value}'"); values.len()].join(", ");
            let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE s{number} ({values})"));
            let rows = link.fetch_all(sqlx::raw_sql(explain)).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get_unchecked(0)).collect();
            // For 256 keys at once, a table of this size may be looked through.
            let reads_whole = |step: &String| {
                step.contains("Seq Scan on knox_authtoken")
                    || number != 2 && step.contains("Seq Scan on drf_")
            };
            // Django makes a second index on the digest, which serves as well.
            let is_search = |step: &String| {
                step.contains("knox_authtoken_pkey") || step.contains("knox_authtoken_digest_like")
            };
            let searches = plan.iter().any(is_search);
            assert!(searches && !plan.iter().any(reads_whole), "{number}: {plan:#?}");
        }
        drop(link);
        let sql = AssertSqlSafe(format!("DROP SCHEMA {name} CASCADE"));
        sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    }
}

/// Seen to fail with the digest's column cast to BINARY.
#[tokio::test]
async fn lookups_search_the_primary_key_on_mysql() {
    let Ok(url) = env::var("TEST_MYSQL_URL") else {
        println!("SKIPPED lookups_search_the_primary_key_on_mysql: no TEST_MYSQL_URL");
        return;
    };
    for is_smarter in [false, true] {
        let name = format!("t_{}", KeyId::random().as_uuid().simple());
        let server = MySqlPool::connect(&url).await.unwrap();
        // As of an old site: a column of another character set than the connection's.
        let make = AssertSqlSafe(format!("CREATE DATABASE {name} CHARACTER SET latin1"));
        sqlx::raw_sql(make).execute(&server).await.unwrap();
        let (address, _) = url.rsplit_once('/').unwrap();
        let pool = MySqlPool::connect(&format!("{address}/{name}")).await.unwrap();
        let text = ddl(include_str!("../../../../tests/it/support/site/mysql.sql"), is_smarter);
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&pool).await.unwrap();
        let store = KnoxOptions::default().from_mysql_pool(pool.clone()).await.unwrap();
        let numbers = "(WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 1000) \
                       SELECT n FROM t) AS numbers";
        let rows = rows(is_smarter, numbers, "sha2(n, 512)", "left(sha2(digest, 256), 32)");
        let store = filled(store, &rows).await;
        for (number, Statement { sql, values }) in lookups(&store).into_iter().enumerate() {
            let explain = AssertSqlSafe(format!("EXPLAIN {}", sql.as_str()));
            let query = values.into_iter().fold(sqlx::query(explain), |query, v| query.bind(v));
            let rows = query.fetch_all(&pool).await.unwrap();
            for row in &rows {
                let kind: Option<String> = row.get_unchecked("type");
                let extra: Option<String> = row.get_unchecked("Extra");
                // Nothing is there: MariaDB has looked already.
                let is_settled =
                    extra.as_deref().is_some_and(|extra| extra.contains("Impossible WHERE"));
                let searches = kind.as_deref().is_some_and(|kind| {
                    ["const", "eq_ref", "ref", "range", "unique_subquery"].contains(&kind)
                });
                assert!(searches || is_settled, "{number}: {kind:?} {extra:?}");
            }
        }
        let sql = AssertSqlSafe(format!("DROP DATABASE {name}"));
        sqlx::raw_sql(sql).execute(&server).await.unwrap();
    }
}
