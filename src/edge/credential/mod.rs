//! Finds the one credential of a request, judged on raw bytes, and refuses what is ambiguous.

mod parse;
mod plain;
mod source;
mod stripped;

pub(super) use source::{Presented, Sources};
pub(super) use stripped::{Stripped, Taken};

/// The longest credential field that is read, in bytes: 8 KiB, as much as common servers let a
/// whole header line have. No token of ours comes near it, and a longer one is not worth a hash.
const MAX_LEN: usize = 8192;
