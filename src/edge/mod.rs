//! Floor 3, the edge: what turns an HTTP request into a decision, and a refusal into a response.

mod answers;
pub mod bypass;
mod credential;
#[cfg(feature = "util")]
pub(crate) mod ext;
#[cfg(feature = "axum")]
mod extract;
pub(crate) mod future;
pub(crate) mod knox;
pub(crate) mod layer;
mod readiness;
pub mod responder;
#[cfg(feature = "axum")]
pub(crate) mod routes;
pub(crate) mod scope;
pub(crate) mod service;
mod settings;
#[cfg(feature = "test-util")]
pub(crate) mod testing;
pub(crate) mod visitor;
