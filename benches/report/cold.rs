//! G6: how often the store is asked when many requests need the same cold key at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::{Request, StatusCode, header};
use tokio::runtime::Builder;
use tower::{Layer as _, ServiceExt as _};
use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, KeyId, Owner, Record, TokenAuthLayer, TokenDigest,
    store::{KeyStore, KeyUse, StoreError},
};

use crate::{
    Effort,
    contenders::{Bare, Body, now},
    print,
    statistics::Estimate,
};

const REQUESTS: u64 = 10_000;
const ROUNDS: usize = 10;
const TOKEN: &str = "cold-key-of-the-report";

/// A store of one key that answers only when every request is under way.
struct Slow {
    record: Record,
    begun: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
}

impl KeyStore for Slow {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        DigestAlgorithm::Sha256
    }

    async fn find(&self, _: TokenDigest) -> Result<Option<Record>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        while self.begun.load(Ordering::SeqCst) < REQUESTS {
            tokio::task::yield_now().await;
        }
        Ok(Some(self.record.clone()))
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        Ok(self.find(digests[0]).await?.into_iter().collect())
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        Ok(uses.len() as u64)
    }
}

pub(crate) fn report(effort: Effort) {
    let rounds: Vec<(u64, u64)> = (0..effort.rounds(ROUNDS)).map(|_| round()).collect();
    let reads = rounds.iter().map(|(reads, _)| *reads);
    let (low, high) = (reads.clone().min().unwrap_or(0), reads.max().unwrap_or(0));
    let admitted = rounds.iter().map(|(_, admitted)| *admitted).min().unwrap_or(0);
    let worst = Estimate { value: high as f64, low: low as f64, high: high as f64 };
    print("G6", worst, "= 1", (low, high, admitted) == (1, 1, REQUESTS), 0);
    let rounds = rounds.len();
    println!("    {rounds} rounds of {REQUESTS} requests; admitted in the worst: {admitted}");
}

/// How often the store was asked, and how many requests were admitted.
fn round() -> (u64, u64) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let (begun, reads) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let digest = TokenDigest::of(DigestAlgorithm::Sha256, TOKEN);
    let key = ApiKey::new(KeyId::random(), digest, "ada".into(), now());
    let record = Record::new(key, Owner::staff("ada"));
    let store = Slow { record, begun: Arc::clone(&begun), reads: Arc::clone(&reads) };
    let (auth, _guard) = Authenticator::read_only(store).build().expect("the defaults fit");
    let service = TokenAuthLayer::new(auth).layer(Bare);
    let admitted = runtime.block_on(async {
        let tasks: Vec<_> = (0..REQUESTS)
            .map(|_| {
                let (service, begun) = (service.clone(), Arc::clone(&begun));
                tokio::spawn(async move {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let request = Request::get("/")
                        .header(header::AUTHORIZATION, format!("Token {TOKEN}"))
                        .body(Body::default())
                        .expect("the request is well formed");
                    let response = service.oneshot(request).await.expect("nothing fails here");
                    response.status() == StatusCode::OK
                })
            })
            .collect();
        let mut admitted = 0;
        for task in tasks {
            admitted += u64::from(task.await.expect("no request panics"));
        }
        admitted
    });
    (reads.load(Ordering::SeqCst), admitted)
}
