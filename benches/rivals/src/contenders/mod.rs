//! Everything that is measured: each as a careful user would write it.
//!
//! The hand-written caches hold one `Arc` of all that a request needs, read from the same store, hold an
//! answer for a minute, judge key, owner and expiry against the present at each hit, and put the record
//! into the extensions behind an `Arc`.

mod jwt;
mod moka;
mod ours;
mod quick;
mod secret;

use std::sync::Arc;

use axum::body::Body;
use http::{Extensions, Request, Response, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tower::layer::util::Identity;
use tower_token_auth::{
    DigestAlgorithm, Record, SqliteStore, Status, TokenDigest,
    store::{KeyStore as _, StoreError},
};

use crate::{
    contender::{Contender, Credentials},
    setting::{Setting, tokens},
    time::now,
};

/// The bare service comes first and ours last. To be called inside the setting's runtime.
pub(crate) fn all(setting: &Setting) -> Vec<Contender> {
    let store = &setting.store;
    vec![
        bare(),
        secret::contender(),
        jwt::by_jsonwebtoken(),
        setting.runtime.block_on(jwt::by_jwt_authorizer()),
        quick::contender(store),
        moka::tuned(store),
        moka::usual(store),
        ours::contender(store),
    ]
}

fn bare() -> Contender {
    let credentials = Credentials { good: tokens().good, refused: Vec::new() };
    Contender::new("the bare service", credentials, |_| true, Identity::new())
}

/// How long a hand-written cache goes by what it has read.
const LIFETIME: std::time::Duration = std::time::Duration::from_secs(60);
/// How many keys it holds.
const CAPACITY: u16 = 10_000;

type Digest = [u8; 32];

fn token_of<'r>(request: &'r Request<Body>, scheme: &str) -> Option<&'r str> {
    request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix(scheme)
}

fn digest_of(request: &Request<Body>) -> Option<Digest> {
    token_of(request, "Token ").map(|token| Sha256::digest(token).into())
}

async fn read(store: &SqliteStore, digest: &Digest) -> Result<Option<Arc<Record>>, StoreError> {
    let Ok(digest) = TokenDigest::from_bytes(DigestAlgorithm::Sha256, digest) else {
        return Ok(None);
    };
    Ok(store.find(digest).await?.map(Arc::new))
}

fn holds_record(extensions: &Extensions) -> bool {
    extensions.get::<Arc<Record>>().is_some()
}

/// Puts a record into the request if it may be used now.
fn admit(mut request: Request<Body>, record: Arc<Record>) -> Result<Request<Body>, Response<Body>> {
    if record.status_at(now()) != Status::Usable {
        return Err(refused());
    }
    request.extensions_mut().insert(record);
    Ok(request)
}

#[cold]
fn refused() -> Response<Body> {
    answer(StatusCode::UNAUTHORIZED)
}

#[cold]
fn unavailable<E>(_: E) -> Response<Body> {
    answer(StatusCode::SERVICE_UNAVAILABLE)
}

fn answer(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
