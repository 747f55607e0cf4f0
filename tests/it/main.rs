//! The integration tests: one binary, a module per subject.
// Helpers of tests are tests too; `allow-unwrap-in-tests` sees the test functions alone.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "test-util")]
mod store;

#[cfg(all(feature = "axum", feature = "util", feature = "test-util"))]
mod axum;
mod bodies;
#[cfg(feature = "test-util")]
mod cache;
mod credential;
mod fence;
mod flight;
mod grpc;
mod manager;
mod map_guards;
mod modes;
#[cfg(feature = "test-util")]
mod outage;
mod race;
mod readiness;
mod recorder;
mod rejections;
#[cfg(all(feature = "tracing", feature = "serde"))]
mod secrets;
mod source;
mod support;
#[cfg(feature = "tracing")]
mod trace;
