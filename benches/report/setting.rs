//! An authenticator over a store in memory, and the requests that it admits.

use bytes::Bytes;
use chrono::TimeDelta;
use http::{HeaderValue, Request, header};
use tokio::runtime::{Builder, Runtime};
use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, KeyId, MemoryStore, Owner, TokenDigest,
    store::KeyRepository as _,
};

use crate::contenders::{Body, now};

/// The token of a key that expires, as knox makes them: 64 hexadecimal characters.
pub const EXPIRING: &str = "5f0c6a5b1c1f4e1d9b7f6f3a2e8d7c6b5a49382716059483a1b2c3d4e5f60718";
/// The token of a key that never expires.
pub const ENDLESS: &str = "a1b2c3d4e5f607185f0c6a5b1c1f4e1d9b7f6f3a2e8d7c6b5a49382716059483";

/// A runtime, an authenticator and a store that knows both tokens.
pub struct Setting {
    pub runtime: Runtime,
    pub auth: Authenticator,
    pub store: MemoryStore,
}

impl Setting {
    /// With SHA-256, as our own stores have it.
    pub fn prepare() -> Self {
        Self::with_algorithm(DigestAlgorithm::Sha256)
    }

    pub fn with_algorithm(algorithm: DigestAlgorithm) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let store = MemoryStore::with_algorithm(algorithm);
        for (token, expires_in) in [(EXPIRING, Some(TimeDelta::days(30))), (ENDLESS, None)] {
            let digest = TokenDigest::of(algorithm, token);
            let key = ApiKey::new(KeyId::random(), digest, "ada".into(), now())
                .with_name("a key of the report")
                .with_expires_at(expires_in.map(|span| now() + span));
            let inserted =
                runtime.block_on(store.insert(key, Owner::staff("ada"), None, &mut |_, _| true));
            inserted.expect("an empty store takes a key");
        }
        let (auth, guard) =
            Authenticator::builder(store.clone()).build().expect("the defaults fit");
        // Dropping the guard detaches the recorder: it goes on, as in a running service.
        drop(guard);
        Self { runtime, auth, store }
    }
}

/// A request as a client sends it.
pub fn request(token: &str) -> Request<Body> {
    requests(&[token]).remove(0)
}

/// Such requests with these tokens, each in a field that points into what was read of a connection, as hyper
/// makes it.
pub fn requests(tokens: &[impl AsRef<str>]) -> Vec<Request<Body>> {
    let fields = tokens.iter().map(|token| format!("Token {}", token.as_ref()));
    let (ends, read) = fields.fold((vec![0], String::new()), |(mut ends, read), field| {
        let read = read + &field;
        ends.push(read.len());
        (ends, read)
    });
    let read = Bytes::from(read);
    let field = |ends: &[usize]| HeaderValue::from_maybe_shared(read.slice(ends[0]..ends[1]));
    ends.windows(2).map(|ends| presenting(field(ends).expect("a token is a field"))).collect()
}

fn presenting(credential: HeaderValue) -> Request<Body> {
    Request::get("/v1/things?page=2")
        .header(header::HOST, "api.example.com")
        .header(header::USER_AGENT, "report/1.0")
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, credential)
        .body(Body::default())
        .expect("the request is well formed")
}
