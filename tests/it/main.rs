//! The integration tests: one binary, a module per subject.
// Helpers of tests are tests too; `allow-unwrap-in-tests` sees the test functions alone.
#![allow(clippy::unwrap_used)]

#[cfg(all(feature = "axum", feature = "util", feature = "test-util"))]
mod axum;
mod credential;
mod house;
mod manager;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "test-util")]
mod store;
mod support;
