//! The integration tests: one binary, a module per subject.
// Helpers of tests are tests too; `allow-unwrap-in-tests` sees the test functions alone.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "test-util")]
mod cache;
mod fence;
mod flight;
mod manager;
mod map_guards;
#[cfg(feature = "test-util")]
mod outage;
mod race;
#[cfg(all(feature = "tracing", feature = "serde"))]
mod secrets;
mod support;
