//! G10: what a flood of unknown tokens does to memory, and to the requests beside it.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use counting_allocator::growth_of;
use http::{Request, StatusCode, header};
use tokio::{runtime::Builder, time};
use tower::{Layer as _, ServiceExt as _};
use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, KeyId, Owner, Record, TokenAuth, TokenAuthLayer,
    TokenDigest,
    store::{KeyStore, KeyUse, StoreError},
};

use crate::{
    Effort,
    contenders::{Bare, Body, now},
    memory::resident,
    print,
    statistics::Estimate,
};

const MIB: f64 = (1 << 20) as f64;
const GOAL_MIB: f64 = 64.0;
const GOAL_POINTS: f64 = 1.0;
/// Keys that the real traffic is made with.
const KEYS: u64 = 1_000;
/// Requests of the real traffic in a millisecond, whatever becomes of those before them.
const REAL_RATE: u64 = 20;
/// More clients of the flood than reads may be under way or wait for their turn, so that they are turned
/// away as well.
const JUNK_CLIENTS: u64 = 1_024;
const MOST_WAITING: usize = 1_024;
/// Longer than a slot lives, so that every key is read anew at least once in it.
const LIFE: Duration = Duration::from_secs(11);

/// A store of the real keys, which takes 10 ms for an answer.
struct Slow(HashMap<TokenDigest, Record>);

impl Slow {
    fn new() -> Self {
        let record = |number| {
            let digest = TokenDigest::of(DigestAlgorithm::Sha256, &real_token(number));
            let key = ApiKey::new(KeyId::random(), digest, "ada".into(), now());
            (digest, Record::new(key, Owner::staff("ada")))
        };
        Self((0..KEYS).map(record).collect())
    }
}

impl KeyStore for Slow {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        DigestAlgorithm::Sha256
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        time::sleep(Duration::from_millis(10)).await;
        Ok(self.0.get(&digest).cloned())
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        time::sleep(Duration::from_millis(10)).await;
        Ok(digests.iter().filter_map(|digest| self.0.get(digest).cloned()).collect())
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        Ok(uses.len() as u64)
    }
}

/// What became of the real traffic.
#[derive(Default)]
struct Real {
    requests: AtomicU64,
    /// Requests that were answered at once, and so without a read.
    hits: AtomicU64,
    refused: AtomicU64,
    pending: AtomicU64,
}

impl Real {
    /// How many of a hundred requests were hits, since `before` was noted.
    fn hit_points(&self, before: (u64, u64)) -> f64 {
        let (requests, hits) = self.so_far();
        (hits - before.1) as f64 * 100.0 / (requests - before.0) as f64
    }

    fn note(&self, status: StatusCode) {
        self.refused.fetch_add(u64::from(status != StatusCode::OK), Ordering::SeqCst);
    }

    fn so_far(&self) -> (u64, u64) {
        (self.requests.load(Ordering::SeqCst), self.hits.load(Ordering::SeqCst))
    }
}

/// What became of the flood.
#[derive(Default)]
struct Junk {
    sent: AtomicU64,
    unauthorized: AtomicU64,
    turned_away: AtomicU64,
}

type Through = TokenAuth<Bare>;

pub(crate) fn report(effort: Effort) {
    let (tokens, life) = match effort {
        Effort::Smoke => (5_000, Duration::from_millis(200)),
        Effort::Full => (1_000_000, LIFE),
        Effort::Long => (10_000_000, LIFE),
    };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let builder = Authenticator::read_only(Slow::new()).max_waiting(MOST_WAITING);
    let (auth, _guard) = builder.build().expect("the settings fit");
    let service = TokenAuthLayer::new(auth).layer(Bare);
    let (real, junk) = (Arc::new(Real::default()), Arc::new(Junk::default()));
    let over = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        // A few at a time, as reads may be under way.
        for first in (0..KEYS).step_by(50) {
            let reads: Vec<_> = (first..first + 50)
                .map(|number| tokio::spawn(send(&service, &real_token(number))))
                .collect();
            for read in reads {
                assert_eq!(read.await.expect("no read panics"), StatusCode::OK);
            }
        }
        tokio::spawn(use_real_keys(service.clone(), Arc::clone(&real), Arc::clone(&over)));
        time::sleep(life).await;
    });
    let quiet = real.hit_points((0, 0));
    let (before, resident_before) = (real.so_far(), resident());
    let (took, growth) = growth_of(|| runtime.block_on(flood(&service, &junk, tokens, life)));
    let flooded = real.hit_points(before);
    over.store(true, Ordering::SeqCst);
    // What has not been answered by now may still be refused.
    runtime.block_on(async {
        while real.pending.load(Ordering::SeqCst) > 0 {
            time::sleep(Duration::from_millis(1)).await;
        }
    });

    let mib = growth.peak as f64 / MIB;
    let lost = (quiet - flooded).max(0.0);
    let refused = real.refused.load(Ordering::SeqCst);
    let met = mib <= GOAL_MIB && lost <= GOAL_POINTS && refused == 0;
    let exact = Estimate { value: mib, low: mib, high: mib };
    print("G10", exact, "<= 64 MiB, hits - <= 1 point, 0 refused", met, 1);
    let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
    println!(
        "    {} unknown tokens in {:.1} s: {} answered 401, {} turned away",
        of(&junk.sent),
        took.as_secs_f64(),
        of(&junk.unauthorized),
        of(&junk.turned_away)
    );
    if let (Some(before), Some(after)) = (resident_before, resident()) {
        println!("    the process grew by {:.1} MiB", after.saturating_sub(before) as f64 / MIB);
    }
    println!(
        "    real traffic: {} requests beside it, {flooded:.3} % hits; before it {quiet:.3} %; \
         {refused} refused in all",
        real.so_far().0 - before.0
    );
}

/// Sends every token once, and goes on with others until `life` has passed.
async fn flood(service: &Through, junk: &Arc<Junk>, tokens: u64, life: Duration) -> Duration {
    let began = stopwatch();
    let clients: Vec<_> = (0..JUNK_CLIENTS)
        .map(|_| {
            let (service, junk) = (service.clone(), Arc::clone(junk));
            tokio::spawn(async move {
                loop {
                    let number = junk.sent.fetch_add(1, Ordering::Relaxed);
                    match send(&service, &junk_token(number)).await {
                        StatusCode::UNAUTHORIZED => &junk.unauthorized,
                        StatusCode::SERVICE_UNAVAILABLE => &junk.turned_away,
                        other => panic!("an unknown token was answered {other}"),
                    }
                    .fetch_add(1, Ordering::Relaxed);
                    if number >= tokens && began.elapsed() >= life {
                        return;
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no client panics");
    }
    began.elapsed()
}

/// Sends requests at an even rate, each with the next key, until it is over.
async fn use_real_keys(service: Through, real: Arc<Real>, over: Arc<AtomicBool>) {
    let mut tick = time::interval(Duration::from_millis(1));
    let mut number = 0;
    while !over.load(Ordering::SeqCst) {
        tick.tick().await;
        for _ in 0..REAL_RATE {
            let mut answer = Box::pin(send(&service, &real_token(number % KEYS)));
            number += 1;
            real.requests.fetch_add(1, Ordering::SeqCst);
            match poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await {
                Poll::Ready(status) => {
                    real.hits.fetch_add(1, Ordering::SeqCst);
                    real.note(status);
                }
                Poll::Pending => {
                    let real = Arc::clone(&real);
                    real.pending.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(async move {
                        real.note(answer.await);
                        real.pending.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        }
    }
}

/// The status that a request with `token` is answered with.
fn send(service: &Through, token: &str) -> impl Future<Output = StatusCode> + Send + use<> {
    let request = Request::get("/v1/things")
        .header(header::AUTHORIZATION, format!("Token {token}"))
        .body(Body::default())
        .expect("the request is well formed");
    let answer = service.clone().oneshot(request);
    async { answer.await.expect("nothing fails here").status() }
}

fn real_token(number: u64) -> String {
    format!("{number:064x}")
}

/// As knox makes them; a multiplication scatters them over all shards.
fn junk_token(number: u64) -> String {
    format!("{:032x}{:032x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15), number + KEYS)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn stopwatch() -> Instant {
    Instant::now()
}
