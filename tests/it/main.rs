//! The integration tests: one binary, a module per subject.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[cfg(all(feature = "axum", feature = "util", feature = "test-util"))]
mod axum;
mod batch;
mod bodies;
#[cfg(feature = "test-util")]
mod bulk;
#[cfg(feature = "test-util")]
mod cache;
mod config;
mod credential;
#[cfg(all(unix, feature = "sqlite", feature = "axum", feature = "util"))]
mod ending;
mod events;
#[cfg(all(feature = "sqlite", feature = "axum", feature = "util"))]
mod examples;
#[cfg(feature = "test-util")]
mod feed;
mod fence;
mod flight;
mod grpc;
mod house;
#[cfg(feature = "test-util")]
mod import;
#[cfg(feature = "test-util")]
mod listing;
#[cfg(feature = "test-util")]
mod manager;
mod map_guards;
#[cfg(all(feature = "metrics", feature = "test-util"))]
mod metrics;
mod modes;
#[cfg(feature = "test-util")]
mod outage;
#[cfg(all(feature = "axum", feature = "metrics"))]
mod outside;
#[cfg(feature = "test-util")]
mod ownership;
#[cfg(feature = "postgres")]
mod postgres;
mod race;
mod readiness;
#[cfg(feature = "test-util")]
mod recorder;
mod rejections;
#[cfg(feature = "test-util")]
mod rotation;
#[cfg(all(feature = "axum", feature = "test-util"))]
mod scopes;
#[cfg(all(feature = "tracing", feature = "serde", feature = "metrics"))]
mod secrets;
#[cfg(feature = "test-util")]
mod source;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "test-util")]
mod stale;
#[cfg(feature = "test-util")]
mod store;
mod support;
#[cfg(feature = "tracing")]
mod trace;
#[cfg(feature = "sqlite")]
mod two_processes;
#[cfg(feature = "test-util")]
mod unknown;
