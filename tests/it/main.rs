//! The integration tests: one binary, a module per subject.

#[cfg(all(feature = "axum", feature = "util", feature = "test-util"))]
mod axum;
mod credential;
mod house;
mod manager;
#[cfg(feature = "sqlite")]
mod sqlite;
mod support;
