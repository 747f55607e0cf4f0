//! Changes of a SQLite file, dropped at each of their await points, and with their answers lost.

use std::{
    fs,
    future::poll_fn,
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tempfile::TempDir;
use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, Owner, OwnerId, Record, SqliteStore, TokenDigest,
    store::{
        Capabilities, InsertJudge, KeyPlan, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit,
        StoreError,
    },
};

use super::operations::{Operation, Sound, World, answers};
use crate::support::step;

/// Of every kind of statement there is.
const OPERATIONS: [Operation; 9] = [
    Operation::Deactivate,
    Operation::Widen,
    Operation::Delete,
    Operation::Create,
    Operation::RotateWithGrace,
    Operation::Import,
    Operation::DeactivateOwner,
    Operation::SetAccounts,
    Operation::RevokeAll,
];

/// When a caller goes away.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    /// When it would be polled once more than so often.
    After(usize),
    /// As soon as the commit is there.
    BehindTheCommit,
}

/// The output, unless the caller leaves before there is one. Each poll comes when it had been woken.
async fn until<F: Future>(leaves: Leaves, made: &AtomicBool, future: F) -> Option<F::Output> {
    let (mut future, mut polled) = (pin!(future), 0);
    poll_fn(|cx| {
        let is_leaving = match leaves {
            Leaves::After(polls) => polled == polls,
            Leaves::BehindTheCommit => made.load(Ordering::SeqCst),
        };
        if is_leaving {
            return Poll::Ready(None);
        }
        polled += 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// A file whose changes make their callers wait once more before they begin and once behind the
/// commit, and whose answers may be lost.
#[derive(Clone)]
struct File {
    rows: SqliteStore,
    made: Arc<AtomicBool>,
    loses: Arc<AtomicBool>,
}

impl File {
    async fn open(path: &Path) -> Self {
        let rows = SqliteStore::open(path).await.unwrap();
        Self { rows, made: Arc::default(), loses: Arc::default() }
    }

    async fn changing<T>(
        &self,
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        step().await;
        let made = change.await?;
        self.made.store(true, Ordering::SeqCst);
        step().await;
        if self.loses.swap(false, Ordering::SeqCst) {
            return Err(StoreError::other("the connection broke behind the commit"));
        }
        Ok(made)
    }
}

/// Wherever the caller goes away, and where the answer does not come, the file ends up as it was or as
/// it was to be, and authentication goes by that.
///
/// Seen to fail without `Armed`'s `drop`: admitted from the cache after the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_dropped_at_any_await_point_is_made_or_not() {
    let folder = TempDir::new().unwrap();
    for operation in OPERATIONS {
        let sound = Sound::of(operation).await;
        let filled = folder.path().join(format!("{operation:?}.db"));
        let world = World::for_a(operation, File::open(&filled).await).await;
        assert_eq!(world.rows().await, sound.before, "{operation:?}");
        world.store.rows.close().await;
        let (mut made, mut not_made) = (0, 0);
        let times = [Leaves::BehindTheCommit].into_iter().chain((0..).map(Leaves::After));
        for (round, leaves) in times.enumerate() {
            let what = format!("{operation:?}, {leaves:?}");
            let file = folder.path().join(format!("{operation:?}-{round}.db"));
            fs::copy(&filled, &file).unwrap();
            let world = World::over(File::open(&file).await);
            assert_eq!(answers(&world).await, sound.answers_before, "{what}");
            // Whoever stays to the end does not hear the answer.
            world.store.loses.store(true, Ordering::SeqCst);
            let change = operation.run(&world.auth);
            let outcome = until(leaves, &world.store.made, change).await;
            world.store.loses.store(false, Ordering::SeqCst);
            let World { store, auth, guard } = world;
            assert_eq!(guard.shutdown(Duration::from_secs(60)).await.unsettled(), 0, "{what}");
            let world = World { guard: World::over(store.clone()).guard, store, auth };
            let rows = world.rows().await;
            let fresh = answers(&World::over(world.store.clone())).await;
            assert_eq!(answers(&world).await, fresh, "{what}");
            world.store.rows.close().await;
            if rows == sound.before {
                not_made += 1;
            } else {
                sound.is_settled(operation, &rows, &what);
                made += 1;
            }
            if let Some(outcome) = outcome {
                assert!(outcome.unwrap_err().is_outcome_unknown(), "{what}");
                break;
            }
        }
        println!("{operation:?}: {made} made or settled, {not_made} not");
        // Behind the commit, and with the answer lost; before anything, and while it waits.
        assert!(made >= 2 && not_made >= 2, "{operation:?}: {made} made, {not_made} not");
    }
}

impl KeyStore for File {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.rows.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        self.rows.find(digest).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.rows.find_many(digests).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        self.rows.record_uses(uses).await
    }
}

impl KeyRepository for File {
    fn capabilities(&self) -> Capabilities {
        self.rows.capabilities()
    }

    async fn insert(
        &self,
        key: ApiKey,
        owner: Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> Result<Record, StoreError> {
        self.changing(self.rows.insert(key, owner, caller, judge)).await
    }

    async fn get(&self, id: KeyId) -> Result<Option<Record>, StoreError> {
        self.rows.get(id).await
    }

    async fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> Result<Vec<Record>, StoreError> {
        self.changing(self.rows.change(ids, caller, plan)).await
    }

    async fn list(&self, query: KeyQuery) -> Result<Vec<Record>, StoreError> {
        self.rows.list(query).await
    }

    async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, StoreError> {
        self.rows.owner(id).await
    }

    async fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> Result<Owner, StoreError> {
        self.changing(self.rows.change_owner(id, caller, edit)).await
    }
}
