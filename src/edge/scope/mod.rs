//! What a key may do: a layer behind the authentication that asks for scopes.

mod layer;
mod requirement;
mod service;

pub use layer::RequireScopeLayer;
pub use service::RequireScope;
