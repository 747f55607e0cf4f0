//! Pages for operators and newcomers: on revocation, rotation, expiries that move on with use, several
//! processes, a fleet on PostgreSQL, a Django beside the service, and every metric.

#[doc = include_str!("metrics.md")]
pub mod metrics {}

#[doc = include_str!("rotation.md")]
pub mod rotation {}

#[doc = include_str!("sliding.md")]
pub mod sliding {}

#[doc = include_str!("processes.md")]
pub mod processes {}

#[doc = include_str!("revocation.md")]
pub mod revocation {}

#[doc = include_str!("fleet.md")]
pub mod fleet {}

#[doc = include_str!("knox.md")]
pub mod knox {}
