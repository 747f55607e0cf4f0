//! The integration tests: one binary, a module per subject.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[cfg(all(feature = "axum", feature = "util", feature = "test-util"))]
mod axum;
mod bodies;
#[cfg(feature = "test-util")]
mod cache;
mod credential;
#[cfg(all(feature = "sqlite", feature = "axum", feature = "util"))]
mod examples;
mod fence;
mod flight;
mod grpc;
mod house;
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
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "test-util")]
mod store;
mod support;
#[cfg(feature = "tracing")]
mod trace;
