//! The integration tests: one binary, a module per subject.

#[cfg(all(feature = "axum", feature = "util", feature = "test-util"))]
mod axum;
mod bodies;
mod credential;
mod grpc;
mod modes;
mod readiness;
mod rejections;
mod support;
