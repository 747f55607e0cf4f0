//! Changes whose outcome is unknown: nothing is said about what they touch until they are settled, and
//! then it is what was asked for, or less.

mod claims;
mod matrix;
mod operations;
mod order;
mod outside;
mod runtimes;
#[cfg(feature = "sqlite")]
mod sqlite;
