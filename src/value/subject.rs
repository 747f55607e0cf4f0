//! What a revocation is about.

use super::{digest::TokenDigest, key::KeyId, owner::OwnerId};

/// What a revocation is about: whatever was read about it before is outdated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// One token: its key, and also that there was none.
    Digest(TokenDigest),
    /// One key.
    Key(KeyId),
    /// All keys of an owner.
    Owner(OwnerId),
}
