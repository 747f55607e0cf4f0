//! The integration tests: one binary, a module per subject.
// Helpers of tests are tests too; `allow-unwrap-in-tests` sees the test functions alone.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "test-util")]
mod store;

mod manager;
mod recorder;
mod source;
