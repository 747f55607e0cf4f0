//! A SQLite file that another one takes the place of, while it is open: as when a backup is restored.

use std::{fs, path::PathBuf, time::Duration};

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection, SqlitePool};
use tower_token_auth::{
    Authenticator, KeyFilter, Page,
    store::{Heard, KeyStore as _, RevocationFeed as _},
};

use super::{TOKEN, digest, issue};
use crate::support::site::{Kind, Site};

/// Less than what is cached is served for.
const PATIENCE: Duration = Duration::from_secs(8);

async fn site(is_smarter: bool) -> Site {
    let site = Site::new(Kind::Sqlite, is_smarter).await.unwrap();
    site.users(&[1]).await;
    if is_smarter {
        site.account(1, "1").await;
        site.profile(1, 1, 1).await;
    }
    issue(&site, is_smarter, &digest().to_hex(), "NULL").await;
    site
}

fn path(site: &Site) -> PathBuf {
    site.url.strip_prefix("sqlite:").unwrap().into()
}

/// A copy beside it, in which this was done as well.
async fn copy(site: &Site, sql: &str) -> PathBuf {
    let copy = path(site).with_file_name("copy.sqlite3");
    site.run(&format!("VACUUM INTO '{}'", copy.display())).await;
    let mut link = SqliteConnection::connect(&format!("sqlite:{}", copy.display())).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut link).await.unwrap();
    link.close().await.unwrap();
    copy
}

/// Asks until it is so. The fresh TTL of ten seconds would pass the limit.
async fn until(auth: &Authenticator, is_so: impl AsyncFn() -> bool) {
    let asked = async {
        while !is_so().await {
            drop(auth.authenticate(TOKEN).await);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it comes to that");
}

/// The feed finds it at its next look, and the store reads the new file from the first moment on.
///
/// Seen to fail without the look at the file in `Following`, as the key is found in the deleted file for
/// ever.
#[tokio::test]
async fn what_the_new_file_says_holds() {
    for is_smarter in [false, true] {
        let site = site(is_smarter).await;
        let (store, other) = (site.store().await, site.store().await);
        let feed = store.feed();
        let builder = Authenticator::builder(store).feed(feed);
        let (auth, _guard) = builder.build().unwrap();
        until(&auth, async || auth.feed_health().is_healthy()).await;
        assert!(auth.authenticate(TOKEN).await.is_ok());
        let ended = "UPDATE auth_user SET is_active = 0";
        fs::rename(copy(&site, ended).await, path(&site)).unwrap();
        // Of another store, as the feed hears of what its own one finds.
        let found = other.find(digest()).await.unwrap().unwrap();
        assert!(!found.owner().is_active());
        until(&auth, async || auth.authenticate(TOKEN).await.is_err()).await;
        until(&auth, async || auth.feed_health().is_healthy()).await;
        // It hears of what is done to that one.
        site.run("UPDATE auth_user SET is_active = 1").await;
        until(&auth, async || auth.authenticate(TOKEN).await.is_ok()).await;
    }
}

/// A feed that has looked at all that was found has no other reason to look again: nothing is ever
/// committed to the deleted file.
///
/// Seen to fail without the look at the file in `Wake`.
#[tokio::test]
async fn a_feed_that_hears_nothing_notices() {
    let site = site(false).await;
    let store = site.store().await;
    let mut feed = store.feed();
    feed.listen().await.unwrap();
    store.find(digest()).await.unwrap().unwrap();
    for nonce in 1..3 {
        feed.probe(nonce).await.unwrap();
        assert_eq!(feed.next().await.unwrap(), Heard::Alive(nonce));
    }
    fs::rename(copy(&site, "DELETE FROM knox_authtoken").await, path(&site)).unwrap();
    feed.probe(3).await.unwrap();
    let error = feed.next().await.unwrap_err();
    assert!(error.to_string().contains("was replaced"), "{error}");
    feed.listen().await.unwrap();
    assert!(store.find(digest()).await.unwrap().is_none());
}

/// Another kind of tables is not taken for those that were found: on Smarter's the inactive key of a
/// plain knox's row would be admitted.
///
/// Seen to fail without the comparison of the tables, by an admission of the inactive key.
#[tokio::test]
async fn other_tables_in_its_place_are_refused() {
    let plain = site(false).await;
    let smarter = site(true).await;
    smarter.run("UPDATE drf_smarterauthtoken SET is_active = 0").await;
    let store = plain.store().await;
    let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
    fs::rename(path(&smarter), path(&plain)).unwrap();
    let error = store.find(digest()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.is_unavailable() && source.contains("open the store anew"), "{source}");
    assert!(auth.authenticate(TOKEN).await.unwrap_err().kind().is_unavailable());
    fs::remove_file(path(&plain)).unwrap();
    assert!(store.find(digest()).await.unwrap_err().is_unavailable());
    assert!(!path(&plain).exists(), "no empty database is made");
}

/// A pool of the user's can't be made anew, and answers no more; if its own file comes back, so does it.
#[tokio::test]
async fn a_pool_of_the_user_s_answers_no_more() {
    let site = site(false).await;
    let pool = SqlitePool::connect(&site.url).await.unwrap();
    let store = Site::options().from_sqlite_pool(pool).await.unwrap();
    let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
    let (path, away) = (path(&site), path(&site).with_file_name("away.sqlite3"));
    let copy = copy(&site, "DELETE FROM knox_authtoken").await;
    fs::rename(&path, &away).unwrap();
    fs::rename(&copy, &path).unwrap();
    assert!(store.find(digest()).await.unwrap_err().is_unavailable());
    let listed = auth.keys().list(KeyFilter::all(), Page::default()).await;
    assert!(listed.unwrap_err().is_unavailable());
    fs::rename(&away, &path).unwrap();
    assert!(store.find(digest()).await.unwrap().is_some());
}

/// Closed is closed, whatever stands in its place.
#[tokio::test]
async fn a_closed_store_follows_no_file() {
    let site = site(false).await;
    let store = site.store().await;
    store.close().await;
    fs::rename(copy(&site, "SELECT 1").await, path(&site)).unwrap();
    assert!(store.find(digest()).await.unwrap_err().is_unavailable());
}
