//! A SQLite file that others have open: what becomes of a change that can't have it for itself.

use std::time::Duration;

use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tower_token_auth::{Authenticator, NewKey};

use crate::support::site::{Kind, Site};

/// Without WAL, as Django makes a file: whoever reads it keeps a commit waiting. One that has waited in
/// vain was not made, and nobody has to wonder whether it was.
///
/// Seen to fail, on either store, with every error of a commit taken for an unknown one.
async fn is_definite(
    auth: &Authenticator,
    url: &str,
    count: &'static str,
    others: impl AsyncFn(&'static str) -> Vec<Option<String>>,
) {
    let mut reader = SqliteConnection::connect(url).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut reader).await.unwrap();
    sqlx::raw_sql(count).execute(&mut reader).await.unwrap();
    let error = auth.keys().create("1", NewKey::default()).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    assert_eq!(others(count).await, [Some("0".to_owned())]);
    auth.keys().create("1", NewKey::default()).await.unwrap();
    assert_eq!(others(count).await, [Some("1".to_owned())]);
}

fn impatient(url: &str) -> SqliteConnectOptions {
    url.parse::<SqliteConnectOptions>().unwrap().busy_timeout(Duration::from_millis(20))
}

#[tokio::test]
async fn a_commit_that_could_not_have_the_file_was_not_made() {
    for is_smarter in [false, true] {
        let site = Site::new(Kind::Sqlite, is_smarter).await.unwrap();
        site.users(&[1]).await;
        if is_smarter {
            site.account(1, "1").await;
            site.profile(1, 1, 1).await;
        }
        let pool = SqlitePoolOptions::new().connect_with(impatient(&site.url)).await.unwrap();
        let store = Site::options().from_sqlite_pool(pool).await.unwrap();
        let (auth, _guard) = Authenticator::builder(store).build().unwrap();
        let count = "SELECT CAST(count(*) AS TEXT) FROM knox_authtoken";
        is_definite(&auth, &site.url, count, async |sql| site.texts(sql).await).await;
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn nor_was_one_of_the_crate_s_own_tables() {
    use tower_token_auth::{Owner, SqliteStore, store::KeyRepository as _};

    let site = Site::empty(Kind::Sqlite).await.unwrap();
    let pool = SqlitePoolOptions::new().connect_with(impatient(&site.url)).await.unwrap();
    let store = SqliteStore::from_pool(pool).await.unwrap();
    let owner = Owner::staff("1");
    store.change_owner(&"1".into(), None, &mut |_, _| Some(owner.clone())).await.unwrap();
    let (auth, _guard) = Authenticator::builder(store).build().unwrap();
    let count = "SELECT CAST(count(*) AS TEXT) FROM token_auth_keys";
    is_definite(&auth, &site.url, count, async |sql| site.texts(sql).await).await;
}
