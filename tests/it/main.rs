//! The integration tests: one binary, a module per subject.
//!
//! What always holds, and which modules show it. Each of their tests names its invariant, and says how it was
//! seen to fail; `house` looks that they do. The models of `tests/models` and the property of `tests/stateful`
//! look at I1 to I3, I5 and I9 from another side.
//!
//! | | invariant | shown by |
//! | --- | --- | --- |
//! | I1 | whoever begins after a revocation returned is not admitted by what it revoked | `fence`, `race` |
//! | I2 | a read begun before a revocation is not used after it | `fence` |
//! | I3 | a change is seen after its commit, and nothing while its outcome is unknown | `fence`, `unknown/matrix`, `postgres/unknown` |
//! | I4 | what changed elsewhere holds within the bound | `two_processes`, `cache`, `feed/mod`, `feed/lease`, `postgres/gaps`, `postgres/fleet` |
//! | I5 | what may have gone unheard drops what is cached | `feed/gaps`, `sqlite/losses`, `sqlite/driver`, `postgres/gaps` |
//! | I6 | expiry, flags and owners are judged on every hit | `cache` |
//! | I7 | trouble of the store is neither kept nor the key's fault | `cache`, `outage`, `postgres/outage` |
//! | I8 | who is served while the store fails, and who never | `stale`, `postgres/outage` |
//! | I9 | one read for all who want the same, and nobody is left behind | `flight` |
//! | I10 | reads and entries are bounded, and a new key is known | `cache`, `fence`, `outage` |
//! | I11 | no guard of a map is held across an await, or another operation | `map_guards` |
//! | I12 | exactly one credential | `credential`, `modes` |
//! | I13 | what a refusal looks like | `credential`, `rejections`, `grpc`, `unknown/outside` |
//! | I14 | no token in a log, an error or a file | `secrets` |
//! | I15 | the inner service is called when admitted and ready, and waits for no read | `readiness` |
//! | I16 | uses are written, and delay nobody | `recorder/mod`, `recorder/forward`, `ending` |
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
mod front;
mod grpc;
mod house;
#[cfg(feature = "test-util")]
mod import;
mod knox;
#[cfg(feature = "knox")]
mod knox_store;
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
mod sliding;
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
