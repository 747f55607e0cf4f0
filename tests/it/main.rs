//! The integration tests: one binary, a module per subject.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[cfg(all(feature = "axum", feature = "util", feature = "test-util"))]
mod axum;
mod bodies;
mod credential;
mod grpc;
mod modes;
mod readiness;
mod rejections;
mod support;
#[cfg(feature = "tracing")]
mod trace;
