//! What holds beside a Django with real knox, or with Smarter's tables, on each of its databases.

#[cfg(all(feature = "axum", feature = "test-util", feature = "knox"))]
mod both;
mod fixture;
#[cfg(all(feature = "axum", feature = "test-util", feature = "knox"))]
mod login;
#[cfg(all(
    unix,
    feature = "knox",
    feature = "sqlite",
    feature = "postgres",
    feature = "axum",
    feature = "util"
))]
mod migrate;
#[cfg(all(feature = "test-util", feature = "knox"))]
mod refresh;
#[cfg(feature = "knox")]
mod triggers;
#[cfg(all(feature = "axum", feature = "test-util"))]
mod values;
#[cfg(all(feature = "axum", feature = "test-util"))]
mod wire;
