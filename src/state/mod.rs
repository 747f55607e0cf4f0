//! Floor 1, state and contracts: what is remembered (`cache`) and where it comes from (`store`).

pub(crate) mod cache;
pub(crate) mod store;
