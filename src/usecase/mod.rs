//! Floor 2, use cases: the one decision about a credential, and the life of a key.

pub(crate) mod access;
pub(crate) mod authenticated;
pub(crate) mod authenticator;
pub(crate) mod config;
pub(crate) mod events;
mod inner;
mod maintenance;
pub(crate) mod manager;
#[cfg(any(token_auth_loom, token_auth_shuttle))]
mod model;
pub(crate) mod rejection;
pub(crate) mod revocation;
pub(crate) mod sliding;
mod telling;
