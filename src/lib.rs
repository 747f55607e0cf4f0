//! API keys for any Tower stack.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod edge;
mod state;
mod usecase;
mod value;

#[cfg(feature = "util")]
pub use edge::ext::ServiceBuilderExt;
pub use edge::{
    bypass, future::ResponseFuture, layer::TokenAuthLayer, responder,
    responder::body::ResponseBody, service::TokenAuth, visitor::Visitor,
};
pub use state::store::{MemoryStore, SharedStore};
#[cfg(feature = "sqlite")]
pub use state::store::{SqliteOptions, SqliteStore};
pub use usecase::{
    access::{Guard, LastUsed, ShutdownReport},
    authenticated::AuthenticatedKey,
    authenticator::Authenticator,
    config::{AuthenticatorBuilder, ConfigError},
    manager::{Issuing, KeyError, KeyManager, KeyPage, KeyUpdate, NewKey, OwnerUpdate, Page},
    rejection::{Rejection, RejectionKind},
};
pub use value::{
    clock::Clock,
    digest::{DigestAlgorithm, DigestError, TokenDigest},
    key::{ApiKey, KeyId, Record, Status},
    owner::{AccountId, Owner, OwnerId},
    subject::Subject,
    token::{Token, TokenError, TokenFormat, TokenKey},
};

/// The contract for stores of one's own: [`KeyStore`](store::KeyStore) to authenticate,
/// [`KeyRepository`](store::KeyRepository) to manage as well.
pub mod store {
    #[cfg(feature = "test-util")]
    pub use crate::state::store::conformance;
    pub use crate::state::store::{
        Capabilities, Cursor, KeyEdit, KeyQuery, KeyRepository, KeyStore, KeyUse, OwnerEdit,
        OwnerJudge, StoreError,
    };
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
