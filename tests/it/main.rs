//! The integration tests: one binary, a module per subject.

#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "test-util")]
mod store;
