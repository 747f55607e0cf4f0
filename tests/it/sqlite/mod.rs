//! What only the SQLite store promises; what every store promises is in `store`.

mod bad_input;
mod changes;
#[cfg(feature = "test-util")]
mod driver;
mod feed;
mod losses;
mod schema;

use std::path::{Path, PathBuf};

use sqlx::{
    SqliteConnection,
    sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions},
};
use tempfile::TempDir;
use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, Owner, SqliteStore, TokenDigest,
    store::{KeyRepository as _, KeyStore as _},
};

/// A folder that is removed with it, and a file to make in it.
struct Database {
    folder: TempDir,
    path: PathBuf,
}

impl Database {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        Self { folder, path }
    }

    /// One with our tables and the key of the token `t`, with every connection closed.
    async fn with_a_key() -> Self {
        let database = Self::new();
        let store = SqliteStore::open(&database.path).await.unwrap();
        issue(&store, "t").await;
        store.close().await;
        database
    }

    /// A connection past the store.
    async fn connection(&self) -> SqliteConnection {
        use sqlx::ConnectOptions as _;
        connect(&self.path).connect().await.unwrap()
    }

    async fn pool(&self) -> SqlitePool {
        SqlitePoolOptions::new().max_connections(2).connect_with(connect(&self.path)).await.unwrap()
    }
}

fn connect(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).create_if_missing(true)
}

fn digest_of(token: &str) -> TokenDigest {
    TokenDigest::of(DigestAlgorithm::Sha256, token)
}

fn key_of(token: &str) -> ApiKey {
    let made = "2026-01-02T03:04:05.678901Z".parse().unwrap();
    ApiKey::new(KeyId::random(), digest_of(token), "ada".into(), made).with_name(token)
}

async fn issue(store: &SqliteStore, token: &str) -> ApiKey {
    let owner = Owner::staff("ada").with_accounts(["a", "b"]);
    let record = store.insert(key_of(token), owner, None, &mut |_, _| true).await.unwrap();
    record.key().clone()
}

#[tokio::test]
async fn a_key_outlives_the_store_that_wrote_it() {
    let database = Database::with_a_key().await;
    for location in
        [database.path.display().to_string(), format!("sqlite:{}", database.path.display())]
    {
        let store = SqliteStore::open(location).await.unwrap();
        let record = store.find(digest_of("t")).await.unwrap().unwrap();
        assert_eq!(record.key().name(), "t");
        assert_eq!(record.key().created_at(), key_of("t").created_at());
        assert_eq!(record.owner(), &Owner::staff("ada").with_accounts(["a", "b"]));
    }
}

/// The control: with the opening's second tries taken out, a round fails on the change into WAL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_file_at_once() {
    for round in 0..10 {
        let database = Database::new();
        let openings = (0..6).map(|n| {
            let path = database.path.clone();
            tokio::spawn(async move {
                let store = SqliteStore::open(path).await?;
                let key = key_of(&format!("{n}"));
                store.insert(key, Owner::staff("ada"), None, &mut |_, _| true).await?;
                Ok::<_, tower_token_auth::store::StoreError>(store)
            })
        });
        let opened = futures_util::future::join_all(openings).await;
        for store in opened {
            let store = store.unwrap().unwrap_or_else(|error| panic!("round {round}: {error}"));
            for n in 0..6 {
                let digest = digest_of(&n.to_string());
                assert!(store.find(digest).await.unwrap().is_some(), "round {round}, key {n}");
            }
        }
    }
}

#[tokio::test]
async fn two_prefixes_are_two_stores_in_one_file() {
    let database = Database::new();
    let ours = SqliteStore::open(&database.path).await.unwrap();
    let options = SqliteStore::options().table_prefix("Acme_2_").unwrap();
    let theirs = options.digest_algorithm(DigestAlgorithm::Sha512).open(&database.path).await;
    let theirs = theirs.unwrap();
    issue(&ours, "t").await;
    let sha512 = TokenDigest::of(DigestAlgorithm::Sha512, "t");
    assert!(ours.find(digest_of("t")).await.unwrap().is_some());
    assert!(theirs.find(sha512).await.unwrap().is_none());
    assert_eq!(theirs.digest_algorithm(), DigestAlgorithm::Sha512);
}

#[tokio::test]
async fn a_database_keeps_the_algorithm_it_was_made_with() {
    let database = Database::new();
    let sha512 = SqliteStore::options().digest_algorithm(DigestAlgorithm::Sha512);
    sha512.open(&database.path).await.unwrap().close().await;
    let store = SqliteStore::open(&database.path).await.unwrap();
    assert_eq!(store.digest_algorithm(), DigestAlgorithm::Sha512);
    let answer = store.insert(key_of("t"), Owner::staff("ada"), None, &mut |_, _| true).await;
    assert!(answer.unwrap_err().is_not_applied(), "a digest of another algorithm is no key here");
}
