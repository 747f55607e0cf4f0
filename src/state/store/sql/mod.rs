//! What the SQL stores have in common, written once: their tables' names, a listing's conditions, and the
//! triggers of PostgreSQL that tell of changes, with the ear for them.

#[cfg(any(feature = "postgres", feature = "knox"))]
pub(super) mod hearing;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) mod list;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod prefix;
#[cfg(any(feature = "postgres", feature = "knox"))]
pub(super) mod primary;
#[cfg(any(feature = "postgres", feature = "knox"))]
pub(super) mod telling;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) use prefix::Prefix;
