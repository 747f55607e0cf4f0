//! One more method for tower's `ServiceBuilder`.

use tower::{ServiceBuilder, layer::util::Stack};

use super::layer::TokenAuthLayer;
use crate::usecase::authenticator::Authenticator;

/// Adds [`token_auth`](Self::token_auth) to [`ServiceBuilder`] (feature `util`).
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_token_auth::{Authenticator, MemoryStore, ServiceBuilderExt as _};
///
/// # fn main() -> Result<(), tower_token_auth::ConfigError> {
/// let (auth, _guard) = Authenticator::builder(MemoryStore::new()).build()?;
/// let stack = ServiceBuilder::new().token_auth(auth).concurrency_limit(64);
/// # Ok(())
/// # }
/// ```
pub trait ServiceBuilderExt<L>: sealed::Sealed + Sized {
    /// Admits requests by their API key, in required mode. Other modes:
    /// `.layer(TokenAuthLayer::new(auth).optional())`.
    fn token_auth(self, auth: Authenticator) -> ServiceBuilder<Stack<TokenAuthLayer, L>>;
}

impl<L> ServiceBuilderExt<L> for ServiceBuilder<L> {
    fn token_auth(self, auth: Authenticator) -> ServiceBuilder<Stack<TokenAuthLayer, L>> {
        self.layer(TokenAuthLayer::new(auth))
    }
}

mod sealed {
    /// Keeps the trait to `ServiceBuilder`, so that it may grow.
    pub trait Sealed {}

    impl<L> Sealed for tower::ServiceBuilder<L> {}
}
