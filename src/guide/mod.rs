//! Pages for operators and newcomers: prose alone, no code of the crate.

#[doc = include_str!("metrics.md")]
pub mod metrics {}

#[doc = include_str!("rotation.md")]
pub mod rotation {}
