//! For tests of one's own handlers: a layer that admits every request without a store.
//!
//! ```
//! # use http::{Request, Response};
//! # use tower::{Layer as _, ServiceExt as _, service_fn};
//! use tower_token_auth::{AuthenticatedKey, Owner, testing::acting_as};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let handler = service_fn(async |request: Request<()>| {
//! #     let key = request.extensions().get::<AuthenticatedKey>().expect("acting as one");
//! #     Ok::<_, std::convert::Infallible>(Response::new(key.owner().id().to_string()))
//! # });
//! let key = AuthenticatedKey::for_test().with_owner(Owner::new("grace")).with_name("nightly");
//! let service = acting_as(key).layer(handler);
//! let response = service.oneshot(Request::new(())).await?;
//! assert_eq!(response.into_body(), "grace");
//! # Ok(())
//! # }
//! ```

use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::visitor::Visitor;
use crate::usecase::authenticated::AuthenticatedKey;

/// A layer that stands where a `TokenAuthLayer` would, and admits every request as `key`.
pub fn acting_as(key: AuthenticatedKey) -> ActingAsLayer {
    ActingAsLayer { key }
}

/// See [`acting_as`].
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct ActingAsLayer {
    key: AuthenticatedKey,
}

impl<S> Layer<S> for ActingAsLayer {
    type Service = ActingAs<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ActingAs { inner, key: self.key.clone() }
    }
}

/// A service whose every request is admitted as one key; made by [`acting_as`].
#[derive(Clone, Debug)]
pub struct ActingAs<S> {
    inner: S,
    key: AuthenticatedKey,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for ActingAs<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().remove::<Visitor>();
        request.extensions_mut().insert(self.key.clone());
        self.inner.call(request)
    }
}
