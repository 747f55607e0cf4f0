//! What the SQL stores have in common, written once: their tables' names and a listing's conditions.

pub(super) mod list;
mod prefix;

pub(super) use prefix::Prefix;
