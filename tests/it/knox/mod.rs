//! What holds beside a Django with real knox, or with Smarter's tables, on each of its databases.

mod fixture;
#[cfg(all(
    unix,
    feature = "knox",
    feature = "sqlite",
    feature = "postgres",
    feature = "axum",
    feature = "util"
))]
mod migrate;
#[cfg(all(feature = "axum", feature = "test-util"))]
mod values;
#[cfg(all(feature = "axum", feature = "test-util"))]
mod wire;
