//! A node on the server that goes down, and the clients that ask it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::{Request, StatusCode, header};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use tokio::{sync::watch, task::JoinHandle, time};
use tower::{Layer as _, ServiceExt as _};
use tower_token_auth::{
    Authenticator, AuthenticatorBuilder, DigestAlgorithm, PostgresStore, Record, TokenAuth,
    TokenAuthLayer, TokenDigest,
    store::{KeyStore, KeyUse, StoreError},
};

use super::{COLD, PATIENCE, PAUSE, answers::Answer, now};
use crate::{
    contenders::{Bare, Body},
    elsewhere::revocations,
};

/// Keys of each kind. Every warm one is cached when the server goes down, and no cold one is.
const KEYS: u64 = 1_000;

/// What is asked for: before the server goes down no cold key, and after all nothing more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Before,
    Since,
    After,
}

/// An authenticator, and the service behind it.
pub(super) struct Node {
    auth: Authenticator,
    service: TokenAuth<Bare>,
    pub(super) reads: Arc<AtomicU64>,
    /// Whether a cold key was admitted since it was last warmed.
    is_back: Arc<watch::Sender<bool>>,
}

impl Node {
    pub(super) fn new(
        store: &PostgresStore,
        set: impl FnOnce(AuthenticatorBuilder) -> AuthenticatorBuilder,
    ) -> Self {
        let reads = Arc::default();
        let store = Counted(store.clone(), Arc::clone(&reads));
        let built = set(Authenticator::read_only(store)).build();
        let (auth, _guard) = built.expect("the settings fit");
        let service = TokenAuthLayer::new(auth.clone()).layer(Bare);
        Self { auth, service, reads, is_back: Arc::default() }
    }

    /// Has every warm key read, with a healthy feed, and no cold one known.
    pub(super) async fn warm(&self) {
        revocations::healthy(&self.auth).await;
        self.auth.flush();
        self.is_back.send_replace(false);
        for number in 0..KEYS {
            let token = format!("warm-{number}");
            let warmed = async { while self.auth.authenticate(&token).await.is_err() {} };
            time::timeout(PATIENCE, warmed).await.expect("the server is there");
        }
    }

    pub(super) async fn recovered(&self) {
        let mut is_back = self.is_back.subscribe();
        let recovered = time::timeout(PATIENCE, is_back.wait_for(|is_back| *is_back)).await;
        recovered.expect("it comes back").expect("the node holds it");
    }

    /// Asks until the end, for keys in an order of its own.
    pub(super) fn client(
        &self,
        client: u64,
        phase: &Arc<watch::Sender<Phase>>,
    ) -> JoinHandle<Vec<Answer>> {
        let (service, phase) = (self.service.clone(), phase.subscribe());
        let is_back = Arc::clone(&self.is_back);
        tokio::spawn(async move {
            let (mut answers, mut number) = (Vec::new(), client * 7_919);
            loop {
                let phase = *phase.borrow();
                if phase == Phase::After {
                    return answers;
                }
                // A prime, so that every client comes by every key.
                number += 104_729;
                let is_cold = client < COLD && phase != Phase::Before;
                let kind = if is_cold { "cold" } else { "warm" };
                let token = format!("Token {kind}-{}", number % KEYS);
                let request = Request::get("/").header(header::AUTHORIZATION, token);
                let request = request.body(Body::default()).expect("it is well formed");
                let asked = now();
                let response = service.clone().oneshot(request).await;
                let status = response.expect("nothing fails here").status();
                answers.push(Answer { asked, answered: now(), is_cold, status });
                if is_cold && status == StatusCode::OK {
                    is_back.send_replace(true);
                }
                time::sleep(PAUSE).await;
            }
        })
    }
}

/// Counts the reads that are tried.
struct Counted(PostgresStore, Arc<AtomicU64>);

impl KeyStore for Counted {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        self.0.digest_algorithm()
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.find(digest).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.find_many(digests).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        self.0.record_uses(uses).await
    }
}

/// Puts the keys of both kinds into the tables.
pub(super) async fn fill(url: &str) {
    let sql = format!(
        "INSERT INTO token_auth_owners VALUES ('ada', 'ada', true, true, false); \
         INSERT INTO token_auth_keys (digest, key_id, token_key, owner_id, name, created_at, \
         updated_at, is_active) SELECT sha256(convert_to(kind || '-' || n, 'UTF8')), \
         gen_random_uuid(), '', 'ada', 'a key of the report', now(), now(), true \
         FROM generate_series(0, {KEYS} - 1) AS n, (VALUES ('warm'), ('cold')) AS kinds (kind)"
    );
    let connect: PgConnectOptions = url.parse().expect("a URL");
    let mut connection = connect.connect().await.expect("the server is there");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("it is done");
    connection.close().await.expect("it was sound");
}
