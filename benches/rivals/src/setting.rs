//! A store in a SQLite file, and keys in it: one that is good, and one for each reason to refuse.

use chrono::TimeDelta;
use http::HeaderValue;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyId, Owner, SqliteStore, TokenDigest, store::KeyRepository as _,
};

use crate::{contender::Credentials, time::now};

/// Tokens as knox makes them: 64 hexadecimal characters.
const GOOD: &str = "5f0c6a5b1c1f4e1d9b7f6f3a2e8d7c6b5a49382716059483a1b2c3d4e5f60718";
const EXPIRED: &str = "a1b2c3d4e5f607185f0c6a5b1c1f4e1d9b7f6f3a2e8d7c6b5a49382716059483";
const INACTIVE: &str = "1c1f4e1d9b7f6f3a5f0c6a5b2e8d7c6b5a49382716059483a1b2c3d4e5f60718";
const OF_INACTIVE: &str = "9b7f6f3a2e8d7c6b5f0c6a5b1c1f4e1d5a49382716059483a1b2c3d4e5f60718";
const UNKNOWN: &str = "e5f607185f0c6a5b1c1f4e1d9b7f6f3a2e8d7c6b5a49382716059483a1b2c3d4";

pub(crate) struct Setting {
    pub(crate) runtime: Runtime,
    pub(crate) store: SqliteStore,
    _folder: TempDir,
}

impl Setting {
    pub(crate) fn prepare() -> Self {
        // One thread for each side of a connection, on a machine that both share.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads((cores / 2).max(1))
            .enable_all()
            .build()
            .expect("a runtime starts");
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("keys.db");
        let store = runtime.block_on(SqliteStore::open(path)).expect("a new file");
        runtime.block_on(fill(&store));
        Self { runtime, store, _folder: folder }
    }
}

async fn fill(store: &SqliteStore) {
    let later = now() + TimeDelta::days(30);
    let earlier = now() - TimeDelta::days(1);
    for (token, owner, expires_at, is_active) in [
        (GOOD, Owner::staff("ada"), later, true),
        (EXPIRED, Owner::staff("ada"), earlier, true),
        (INACTIVE, Owner::staff("ada"), later, false),
        (OF_INACTIVE, Owner::staff("bob").with_active(false), later, true),
    ] {
        let digest = TokenDigest::of(DigestAlgorithm::Sha256, token);
        let key = ApiKey::new(KeyId::random(), digest, owner.id().clone(), now())
            .with_name("a key of the rivals")
            .with_active(is_active)
            .with_expires_at(Some(expires_at));
        let inserted = store.insert(key, owner, None, &mut |_, _| true).await;
        inserted.expect("an empty store takes a key");
    }
}

/// What the contenders that know the store are shown.
pub(crate) fn tokens() -> Credentials {
    let refused = [
        ("unknown", UNKNOWN),
        ("expired", EXPIRED),
        ("key inactive", INACTIVE),
        ("owner inactive", OF_INACTIVE),
    ];
    Credentials {
        good: credential("Token", GOOD),
        refused: refused.map(|(why, token)| (why, credential("Token", token))).into(),
    }
}

pub(crate) fn credential(scheme: &str, token: &str) -> HeaderValue {
    HeaderValue::try_from(format!("{scheme} {token}")).expect("a token is a header's value")
}
