//! The stores that a test of management runs on: every one of ours, and some that can do less.

use std::any::Any;

use chrono::{DateTime, Utc};
use tower_token_auth::{
    ApiKey, Authenticator, AuthenticatorBuilder, KeyId, KeyManager, LastUsed, MemoryStore, Owner,
    SharedStore,
    store::{Capabilities, Family, KeyQuery, KeyRepository, KeyStore as _, KeyWrite},
    testing::ManualClock,
};

use super::Quirky;

/// A fresh store, and an authenticator's beginnings over it.
pub(crate) struct Setup {
    /// Which store, for a test's complaints.
    pub(crate) name: &'static str,
    /// The rows, past every manager.
    pub(crate) rows: SharedStore,
    /// What all authenticators of this setup read the time from.
    pub(crate) clock: ManualClock,
    builder: Box<dyn Fn() -> AuthenticatorBuilder>,
    /// What has to outlive it.
    _keep: Option<Box<dyn Any>>,
}

impl Setup {
    fn over(name: &'static str, store: impl KeyRepository + Clone) -> Self {
        Self {
            name,
            rows: SharedStore::new(store.clone()),
            clock: ManualClock::at(start()),
            builder: Box::new(move || Authenticator::builder(store.clone())),
            _keep: None,
        }
    }

    /// An authenticator's settings, by the clock of this setup; it keeps no last uses by itself.
    pub(crate) fn builder(&self) -> AuthenticatorBuilder {
        (self.builder)().clock(self.clock.clone()).last_used(LastUsed::Off)
    }

    pub(crate) fn auth(&self) -> Authenticator {
        let (auth, _guard) = self.builder().build().expect("the defaults are sound");
        auth
    }

    pub(crate) fn keys(&self) -> KeyManager {
        self.auth().keys()
    }

    pub(crate) fn can(&self) -> Capabilities {
        self.rows.capabilities()
    }

    /// Every key with its owner's row as they are stored, for tests that nothing changed.
    pub(crate) async fn all_rows(&self) -> Vec<(ApiKey, Owner)> {
        let all = self.rows.list(KeyQuery::first(10_000)).await.unwrap();
        all.into_iter().map(|row| (row.key().clone(), row.owner().clone())).collect()
    }

    /// The key as it is stored.
    pub(crate) async fn stored(&self, id: KeyId) -> Option<ApiKey> {
        self.rows.get(id).await.unwrap().map(|record| record.key().clone())
    }
}

/// Runs a test on each store, and prints which one it is on when it fails.
pub(crate) async fn on_each(stores: Vec<Setup>, test: impl AsyncFn(&Setup)) {
    for setup in stores {
        println!("on the store: {}", setup.name);
        test(&setup).await;
    }
}

/// Puts many keys of one staff owner into the store, made long before the clock began, each after
/// `edit` changed it; answers with them as stored.
pub(crate) async fn seed(
    setup: &Setup,
    owner: &str,
    count: usize,
    edit: impl Fn(usize, ApiKey) -> ApiKey,
) -> Vec<ApiKey> {
    let token = format!("{owner}-0").replace(' ', "-");
    let first = super::issue_with(&setup.rows, &token, Owner::staff(owner), |key| edit(0, key));
    let first = first.await;
    let rest = (1..count).map(|n| {
        let token = format!("{owner}-{n}");
        let digest = super::digest(&setup.rows, &token);
        let key = ApiKey::new(KeyId::random(), digest, owner.into(), super::long_ago());
        KeyWrite::Insert(edit(n, key.with_name(token)))
    });
    let rest: Vec<KeyWrite> = rest.collect();
    let mut plan = |_: &Family| Some(rest.clone());
    let rest = setup.rows.change(&[first.id()], None, &mut plan).await.unwrap();
    std::iter::once(first).chain(rest.iter().map(|row| row.key().clone())).collect()
}

/// When the clock of a setup begins: with microseconds, as a real one has.
pub(crate) fn start() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_767_323_045_678_901).expect("a moment of this century")
}

/// Every store that can do all: each bare, and one that was chosen at run time.
pub(crate) async fn whole() -> Vec<Setup> {
    #[allow(unused_mut, reason = "the SQL stores")]
    let mut all = vec![
        Setup::over("memory", MemoryStore::new()),
        Setup::over("shared memory", SharedStore::new(MemoryStore::new())),
    ];
    #[cfg(feature = "sqlite")]
    all.extend([sqlite::file().await, sqlite::shared().await, sqlite::in_memory().await]);
    #[cfg(feature = "postgres")]
    all.extend(postgres::both().await);
    all
}

/// Stores whose schemas lack something, each with what it lacks in its name.
pub(crate) fn lesser() -> Vec<Setup> {
    let setup = |name, lacks: fn(&mut Capabilities)| {
        let mut can = Capabilities::all();
        lacks(&mut can);
        Setup::over(name, Quirky::over(MemoryStore::new()).able_to(can))
    };
    vec![
        setup("without lineage", |can| can.lineage = false),
        setup("without activation", |can| can.activation = false),
        setup("without activation and lineage", |can| {
            (can.activation, can.lineage) = (false, false);
        }),
        setup("minimal", |can| *can = Capabilities::minimal()),
    ]
}

/// One that can do all, and runs every transaction twice.
pub(crate) fn retrying() -> Setup {
    Setup::over("retrying", Quirky::over(MemoryStore::new()).retrying())
}

/// All of them.
pub(crate) async fn all() -> Vec<Setup> {
    let mut all = whole().await;
    all.extend(lesser());
    all.push(retrying());
    all
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::path::Path;

    use tempfile::TempDir;
    use tower_token_auth::{SharedStore, SqliteStore};

    use super::Setup;

    /// A folder in memory, where there is one: durability is tested elsewhere.
    fn folder() -> TempDir {
        let shm = Path::new("/dev/shm");
        if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap()
    }

    async fn opened() -> (TempDir, SqliteStore) {
        let folder = folder();
        let store = SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
        (folder, store)
    }

    pub(super) async fn file() -> Setup {
        let (folder, store) = opened().await;
        Setup { _keep: Some(Box::new(folder)), ..Setup::over("sqlite", store) }
    }

    pub(super) async fn shared() -> Setup {
        let (folder, store) = opened().await;
        let store = SharedStore::new(store);
        Setup { _keep: Some(Box::new(folder)), ..Setup::over("shared sqlite", store) }
    }

    pub(super) async fn in_memory() -> Setup {
        Setup::over("sqlite in memory", SqliteStore::open(":memory:").await.unwrap())
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::Setup;
    use crate::support::postgres::Database;

    /// As a server is asked directly, and as one behind a pooler; none where there is no server.
    pub(super) async fn both() -> Vec<Setup> {
        let mut both = Vec::new();
        for (name, is_pooled) in [("postgres", false), ("postgres behind a pooler", true)] {
            let Some(database) = Database::new() else { return Vec::new() };
            let options = database.options().transaction_pooler(is_pooled);
            let store = options.open(&database.url).await.unwrap();
            both.push(Setup { _keep: Some(Box::new(database)), ..Setup::over(name, store) });
        }
        both
    }
}

/// They keep the contract in what they can do, so that what is tested on them is the manager.
#[tokio::test]
async fn the_lesser_stores_conform() {
    for setup in lesser() {
        let can = setup.can();
        let fresh = async || Quirky::over(MemoryStore::new()).able_to(can);
        tower_token_auth::store::conformance::key_repository(fresh).await;
        assert_eq!(setup.rows.digest_algorithm(), MemoryStore::new().digest_algorithm());
    }
}
