//! The integration tests: one binary, a module per subject.
// Helpers of tests are tests too; `allow-unwrap-in-tests` sees the test functions alone.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "test-util")]
mod store;

#[cfg(feature = "test-util")]
mod cache;
mod fence;
mod flight;
mod manager;
mod map_guards;
#[cfg(feature = "test-util")]
mod outage;
mod race;
mod recorder;
#[cfg(all(feature = "tracing", feature = "serde"))]
mod secrets;
mod source;
mod support;
