//! The integration tests: one binary, a module per subject.

mod house;
mod manager;
#[cfg(feature = "sqlite")]
mod sqlite;
mod support;
