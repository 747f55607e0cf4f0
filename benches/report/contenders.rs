//! What is measured against what: the bare service, and the layer that one would write by hand.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use chrono::Utc;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};
use tower::Service;
use tower_http::auth::{AsyncAuthorizeRequest, AsyncRequireAuthorizationLayer};
use tower_token_auth::{DigestAlgorithm, Record, Status, TokenDigest, store::KeyStore};

pub type Body = Full<Bytes>;

/// The service behind every contender: it looks at the request and answers.
#[derive(Clone)]
pub struct Bare;

impl Service<Request<Body>> for Bare {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        drop(black_box(request));
        ready(Ok(Response::new(Body::default())))
    }
}

/// A layer as a careful service would write it by hand: tower-http's asynchronous authorization, a
/// moka cache by digest, every check against the present, and the record into the extensions.
///
/// A closure, so that its future is not boxed: the quickest form that tower-http offers.
pub fn by_hand<S: KeyStore>(
    store: S,
) -> AsyncRequireAuthorizationLayer<
    impl AsyncAuthorizeRequest<Body, RequestBody = Body, ResponseBody = Body, Future: Send> + Clone,
> {
    // Room for more than it is asked for, and a lifetime that ends nothing while it is measured.
    let cache: Cache<[u8; 32], Arc<Record>> =
        Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(60)).build();
    let store = Arc::new(store);
    AsyncRequireAuthorizationLayer::new(move |mut request: Request<Body>| {
        let (cache, store) = (cache.clone(), Arc::clone(&store));
        async move {
            let Some(token) = token_of(&request) else { return Err(refused()) };
            let digest: [u8; 32] = Sha256::digest(token).into();
            let record = match cache.get(&digest).await {
                Some(record) => record,
                None => {
                    let known = TokenDigest::from_bytes(DigestAlgorithm::Sha256, &digest);
                    let found = store.find(known.map_err(|_| refused())?).await;
                    let found = found.map_err(|_| refused())?;
                    let record = Arc::new(found.ok_or_else(refused)?);
                    cache.insert(digest, Arc::clone(&record)).await;
                    record
                }
            };
            if record.status_at(now()) != Status::Usable {
                return Err(refused());
            }
            request.extensions_mut().insert(record);
            Ok(request)
        }
    })
}

fn token_of(request: &Request<Body>) -> Option<&str> {
    request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Token ")
}

fn refused() -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

/// The calendar, as a hand-written layer reads it.
#[expect(clippy::disallowed_methods, reason = "the rival does not know the crate's clock")]
pub fn now() -> chrono::DateTime<Utc> {
    Utc::now()
}

/// One request through a service whose answer needs no waiting: no runtime in between.
pub fn drive<S>(service: &mut S, request: Request<Body>) -> Result<S::Response, S::Error>
where
    S: Service<Request<Body>>,
{
    let mut context = Context::from_waker(Waker::noop());
    while service.poll_ready(&mut context)?.is_pending() {}
    let mut future = pin!(service.call(request));
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return answer;
        }
    }
}
