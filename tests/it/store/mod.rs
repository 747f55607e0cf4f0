//! The conformance suites, on every store: ours, and some written the way a user would.

mod broken;
mod broken_feed;
mod feeds;
mod own;

use tower_token_auth::{
    DigestAlgorithm, MemoryStore, SharedStore,
    store::{KeyRepository as _, conformance},
};

#[tokio::test]
async fn the_store_in_memory_conforms() {
    conformance::key_repository(async || MemoryStore::new()).await;
    let sha512 = async || MemoryStore::with_algorithm(DigestAlgorithm::Sha512);
    conformance::key_repository(sha512).await;
}

#[tokio::test]
async fn a_store_chosen_at_run_time_conforms() {
    conformance::key_repository(async || SharedStore::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn a_store_of_one_s_own_conforms() {
    conformance::key_repository(async || own::Table::default()).await;
}

#[tokio::test]
async fn a_store_that_can_only_be_read_conforms() {
    let seed = async |store: &own::Export, record| store.publish(record);
    conformance::key_store(async || own::Export::default(), seed).await;
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::sync::Mutex;

    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
    use tempfile::TempDir;
    use tower_token_auth::{DigestAlgorithm, SharedStore, SqliteStore, store::conformance};

    /// New files, removed with their folder at the end.
    struct Files(TempDir, Mutex<u32>);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap(), Mutex::new(0))
        }

        fn next(&self) -> std::path::PathBuf {
            let mut number = self.1.lock().unwrap();
            *number += 1;
            self.0.path().join(format!("{number}.db"))
        }
    }

    #[tokio::test]
    async fn an_opened_database_conforms() {
        let files = Files::new();
        conformance::key_repository(async || SqliteStore::open(files.next()).await.unwrap()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_database_of_sha_512_behind_the_common_type_conforms() {
        let files = Files::new();
        let options = SqliteStore::options().digest_algorithm(DigestAlgorithm::Sha512);
        conformance::key_repository(async || {
            SharedStore::new(options.clone().open(files.next()).await.unwrap())
        })
        .await;
    }

    #[tokio::test]
    async fn a_database_in_memory_conforms() {
        conformance::key_repository(async || SqliteStore::open(":memory:").await.unwrap()).await;
    }

    /// In the old journal mode, as a pool opens a new file by default.
    async fn pool_conforms(connections: u32) {
        let files = Files::new();
        conformance::key_repository(async || {
            let connect =
                SqliteConnectOptions::new().filename(files.next()).create_if_missing(true);
            let pool = SqlitePoolOptions::new().max_connections(connections).connect_with(connect);
            SqliteStore::from_pool(pool.await.unwrap()).await.unwrap()
        })
        .await;
    }

    #[tokio::test]
    async fn a_pool_of_the_user_s_conforms() {
        pool_conforms(3).await;
    }

    /// With one connection, nothing may hold it while it waits for another.
    #[tokio::test]
    async fn a_pool_of_one_connection_conforms() {
        pool_conforms(1).await;
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::sync::Mutex;

    use tower_token_auth::{DigestAlgorithm, PostgresOptions, SharedStore, store::conformance};

    use crate::support::postgres::Database;

    /// New schemas, dropped at the end.
    struct Databases(Mutex<Vec<Database>>);

    impl Databases {
        fn new() -> Option<Self> {
            Some(Self(Mutex::new(vec![Database::new()?])))
        }

        fn next(&self) -> (String, PostgresOptions) {
            let database = Database::new().expect("there was one before");
            let (url, options) = (database.url.clone(), database.options());
            self.0.lock().unwrap().push(database);
            (url, options)
        }
    }

    #[tokio::test]
    async fn an_opened_database_conforms() {
        let Some(databases) = Databases::new() else { return };
        conformance::key_repository(async || {
            let (url, options) = databases.next();
            options.open(&url).await.unwrap()
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_database_of_sha_512_behind_the_common_type_and_a_pooler_conforms() {
        let Some(databases) = Databases::new() else { return };
        conformance::key_repository(async || {
            let (url, options) = databases.next();
            let options = options.digest_algorithm(DigestAlgorithm::Sha512);
            SharedStore::new(options.transaction_pooler(true).open(&url).await.unwrap())
        })
        .await;
    }

    /// With one connection, nothing may hold it while it waits for another.
    #[tokio::test]
    async fn a_pool_of_one_connection_conforms() {
        let Some(databases) = Databases::new() else { return };
        conformance::key_repository(async || {
            let (url, options) = databases.next();
            let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1);
            options.from_pool(pool.connect(&url).await.unwrap()).await.unwrap()
        })
        .await;
    }
}

/// What a suite says of a store that it is to refuse.
fn complaint_about(fault: broken::Fault) -> String {
    let suite = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(conformance::key_repository(async || broken::Broken::with(fault)));
    };
    let panic = std::thread::spawn(suite).join().expect_err("the suite did not notice");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

/// The suites' negative controls: one fault each, and the rule that is to be named.
#[test]
fn the_suites_name_the_rule_that_a_broken_store_breaks() {
    use broken::Fault;
    let faults = [
        (Fault::Overwrites, "as a duplicate"),
        (Fault::UsesGoBackward, "unless the stored time is earlier"),
        (Fault::IgnoresCase, "byte for byte"),
        (Fault::RepeatsFound, "each record once"),
        (Fault::LosesExpiry, "expiry"),
        (Fault::JudgesThePassedOwner, "the stored owner, not the one passed in"),
        (Fault::KeepsRefused, "the judge refused leaves no key"),
        (Fault::EditsBehindItsBack, "edits at once"),
        (Fault::MovesKeys, "the name is kept"),
        (Fault::HalfChanges, "undoes what was decided before"),
        (Fault::ForgetsPredecessors, "a family holds the key that was replaced"),
        (Fault::TwoSuccessors, "a family holds the key that was replaced"),
        (Fault::TrustsCallers, "sees the caller's row as it is stored, or none"),
        (Fault::IgnoresPlatform, "as `KeyQuery::admits` reads"),
        (Fault::FoldsTags, "as `KeyQuery::admits` reads"),
        (Fault::SkipsOnPages, "pages follow each other"),
        (Fault::StaleOwners, "the owner"),
        (Fault::NothingIsMissing, "`not_found`"),
    ];
    for (fault, named) in faults {
        let said = complaint_about(fault);
        assert!(said.contains(named), "{fault:?} was called: {said}");
    }
    // Without a fault, the very same store passes.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(conformance::key_repository(async || broken::Broken::with(Fault::None)));
    assert!(broken::Broken::with(Fault::None).capabilities().owners);
}
