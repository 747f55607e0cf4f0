//! A key's public identity.

use std::{fmt, str};

use uuid::Uuid;

use crate::value::digest::TokenDigest;

/// A key's public identity: a UUID that may be shown, logged and sent. It is a random one, of version
/// 4, or of version 8 where the schema [keeps none](Self::of_digest).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct KeyId(Uuid);

impl KeyId {
    /// A new random identity.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The identity of a key whose schema keeps none, as plain knox's: a version 8 UUID (RFC 9562) that
    /// holds the first 122 bits of its digest, which tells nothing of the token.
    #[must_use]
    pub fn of_digest(digest: &TokenDigest) -> Self {
        let bits =
            digest.as_bytes().iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte));
        // 48 bits, the version, 12 bits, the variant, 62 bits.
        let (first, next, last) = (bits >> 80, bits >> 68 & 0xfff, bits >> 6 & ((1 << 62) - 1));
        Self(Uuid::from_u128(first << 80 | 8 << 76 | next << 64 | 2 << 62 | last))
    }

    /// The UUID itself.
    #[must_use]
    pub fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl From<Uuid> for KeyId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl str::FromStr for KeyId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::digest::DigestAlgorithm;

    #[test]
    fn an_id_of_a_digest_holds_its_first_122_bits_in_their_order() {
        let id = |hex: &str| {
            let digest = format!("{hex:0<128}");
            let digest = TokenDigest::from_hex(DigestAlgorithm::Sha512, &digest).unwrap();
            KeyId::of_digest(&digest)
        };
        let told = id("0123456789abcdef0123456789abcdef").to_string();
        assert_eq!(told, "01234567-89ab-8cde-bc04-8d159e26af37");
        assert_eq!(id(&"f".repeat(32)).to_string(), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert_eq!(id("").to_string(), "00000000-0000-8000-8000-000000000000");
        // The last 6 bits of the 16 bytes are left out, and order is kept.
        assert_eq!(id("00000000000000000000000000000000"), id("0000000000000000000000000000003f"));
        assert!(id("0000000000000000000000000000003f") < id("00000000000000000000000000000040"));
        assert_eq!(id("ff").as_uuid().get_version_num(), 8);
    }
}
