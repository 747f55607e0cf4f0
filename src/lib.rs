//! API keys for any Tower stack.
//!
//! [`TokenAuthLayer`] wraps a service: it takes `Authorization: Token …` off each request, has the
//! [`Authenticator`] decide, and calls the service only if the key may pass. The key then stands in
//! the request's extensions as an [`AuthenticatedKey`], whose scopes a [`RequireScopeLayer`] may ask
//! for. [`Authenticator::keys`] issues and changes keys;
//! [`SqliteStore`](https://docs.rs/tower-token-auth/latest/tower_token_auth/struct.SqliteStore.html)
//! (feature `sqlite`), [`MemoryStore`] or a [store of one's own](store) keeps them.
//!
//! # Rules
//! 1. No authentication that begins after this process's own revocation returned is answered from
//!    what was read before it. A revocation made elsewhere holds as soon as a
//!    [feed](AuthenticatorBuilder::feed) tells of it; without a feed, within the fresh TTL, 10 s
//!    unless [set](AuthenticatorBuilder::fresh_ttl).
//! 2. Expiry, active flags and the owner's status are judged on every request, cached or not.
//! 3. A store in trouble is never an answer about a key: 503, never 401.
//! 4. Tokens are kept as hashes, and appear in no log, `Debug` form or error.
//!
//! # Caveat
//! A decision is of one moment. Work that goes on for long (a websocket, a stream, a queue) asks
//! [`Authenticator::recheck`] again.
//!
//! # Example
//! ```
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer as _, ServiceExt as _, service_fn};
//! use tower_token_auth::{Authenticator, MemoryStore, NewKey, Owner, TokenAuthLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (auth, guard) = Authenticator::builder(MemoryStore::new()).build()?;
//! let (key, token) = auth.keys().create(Owner::staff("ada"), NewKey::named("first")).await?;
//!
//! let hello = service_fn(async |_: Request<()>| {
//!     Ok::<_, std::convert::Infallible>(Response::new(http_body_util::Full::<bytes::Bytes>::default()))
//! });
//! let service = TokenAuthLayer::new(auth.clone()).layer(hello);
//! let header = format!("Token {}", token.expose());
//! let request = || Request::get("/").header("authorization", &header).body(());
//!
//! assert_eq!(service.clone().oneshot(request()?).await?.status(), StatusCode::OK);
//! auth.keys().deactivate(key.id()).await?;
//! assert_eq!(service.oneshot(request()?).await?.status(), StatusCode::UNAUTHORIZED);
//! guard.shutdown(std::time::Duration::from_secs(1)).await;
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod edge;
pub mod guide;
mod state;
mod usecase;
mod value;

#[cfg(feature = "util")]
pub use edge::ext::ServiceBuilderExt;
pub use edge::{
    bypass,
    future::ResponseFuture,
    layer::TokenAuthLayer,
    responder,
    responder::body::ResponseBody,
    scope::{RequireScope, RequireScopeLayer},
    service::TokenAuth,
    visitor::Visitor,
};
pub use state::store::{KeyFilter, MemoryStore, SharedStore};
#[cfg(feature = "knox")]
pub use state::store::{KnoxFeed, KnoxOptions, KnoxStore};
#[cfg(feature = "postgres")]
pub use state::store::{PostgresFeed, PostgresOptions, PostgresStore};
#[cfg(feature = "sqlite")]
pub use state::store::{SqliteFeed, SqliteOptions, SqliteStore};
pub use usecase::{
    access::{Guard, LastUsed, ShutdownReport},
    authenticated::AuthenticatedKey,
    authenticator::Authenticator,
    config::{AuthenticatorBuilder, ConfigError},
    events::{Event, Events},
    manager::{
        Imported, ImportedKey, Issuing, KeyError, KeyManager, KeyPage, KeyReport, KeyUpdate,
        NewKey, OwnerUpdate, Page, ReportSettings, Rotation,
    },
    rejection::{Rejection, RejectionKind},
    revocation::FeedHealth,
    sliding::SlidingExpiry,
};
pub use value::{
    clock::Clock,
    digest::{DigestAlgorithm, DigestError, TokenDigest},
    format::TokenFormat,
    key::{ApiKey, KeyId, Record, Status},
    owner::{AccountId, Owner, OwnerId},
    ownership::Relation,
    subject::Subject,
    token::{Token, TokenError, TokenKey},
};

/// The contract for stores of one's own: [`KeyStore`](store::KeyStore) to authenticate,
/// [`KeyRepository`](store::KeyRepository) to manage as well, and
/// [`RevocationFeed`](store::RevocationFeed) to hear of changes made elsewhere.
pub mod store {
    #[cfg(feature = "test-util")]
    pub use crate::state::store::conformance;
    pub use crate::state::store::{
        Capabilities, ChannelFeed, Cursor, Family, Heard, InsertJudge, KeyOrder, KeyPlan, KeyQuery,
        KeyRepository, KeyStore, KeyUse, KeyWrite, OwnerEdit, RevocationChannel, RevocationFeed,
        Standing, StoreError,
    };
    #[cfg(feature = "knox")]
    pub use crate::state::store::{TokenPage, TokenPlace, TokenTable, TokenTableKind};
}

/// What a service beside django-rest-knox is set up with, where it is to answer as that does: its settings
/// and, with feature `axum`, its views. Its tables are served by a
/// [`KnoxStore`](https://docs.rs/tower-token-auth/latest/tower_token_auth/struct.KnoxStore.html) (feature `knox`).
pub mod knox {
    pub use crate::edge::knox::KnoxSettings;
    #[cfg(feature = "axum")]
    pub use crate::edge::routes::{LoginRefusal, routes};
}

/// What tests of one's own service need (`test-util`).
#[cfg(feature = "test-util")]
pub mod testing {
    pub use crate::{
        edge::testing::{ActingAs, ActingAsLayer, acting_as},
        value::clock::ManualClock,
    };
}

/// What the model checks set; not part of the crate for anybody else.
#[cfg(any(token_auth_loom, token_auth_shuttle))]
#[doc(hidden)]
pub mod model {
    pub use crate::state::cache::READ_MODIFY_WRITE;
}

/// The README's code, compiled and run with the documentation's tests.
#[cfg(all(doctest, feature = "sqlite", feature = "axum"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
