//! Floor 0, values: what a token, a digest, an owner, a key and a moment are, and what is counted
//! and logged of them; no async, no I/O.

pub(crate) mod clock;
pub(crate) mod digest;
pub(crate) mod format;
pub(crate) mod key;
pub(crate) mod meter;
pub(crate) mod owner;
pub(crate) mod ownership;
pub(crate) mod subject;
pub(crate) mod token;
pub(crate) mod trace;
