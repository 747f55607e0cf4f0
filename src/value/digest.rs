//! The hash of a whole token: the only form of a token that is stored or compared.

use std::{fmt, hash};

use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

/// The hash function by which a store knows its tokens.
///
/// All keys of one database share it. Our own databases record it when they are made; knox's
/// databases are SHA-512.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DigestAlgorithm {
    /// SHA-256, the default: 32 bytes, and the faster of the two where the CPU has SHA extensions.
    #[default]
    Sha256,
    /// SHA-512, as django-rest-knox 5 stores it: 64 bytes.
    Sha512,
}

impl DigestAlgorithm {
    /// The name a database records: `sha256` or `sha512`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Reads [`name`](Self::name) back; `None` for any other word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The length of a digest in bytes: 32 or 64.
    #[must_use]
    pub fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The hash of a whole token string, prefix included.
///
/// It is compared in constant time, and its `Debug` shows the last four characters only. It has no
/// `Display` and no `Serialize`: write it out with [`to_hex`](Self::to_hex), on purpose.
#[derive(Clone, Copy)]
pub struct TokenDigest(Bytes);

#[derive(Clone, Copy)]
enum Bytes {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

impl TokenDigest {
    /// Hashes a token's UTF-8 bytes.
    #[must_use]
    pub fn of(algorithm: DigestAlgorithm, token: &str) -> Self {
        Self(match algorithm {
            DigestAlgorithm::Sha256 => Bytes::Sha256(Sha256::digest(token).into()),
            DigestAlgorithm::Sha512 => Bytes::Sha512(Sha512::digest(token).into()),
        })
    }

    /// Takes over a digest that was computed elsewhere.
    ///
    /// # Errors
    /// When `bytes` is not as long as the algorithm's digests are.
    pub fn from_bytes(algorithm: DigestAlgorithm, bytes: &[u8]) -> Result<Self, DigestError> {
        let wrong = DigestError { algorithm };
        Ok(Self(match algorithm {
            DigestAlgorithm::Sha256 => Bytes::Sha256(bytes.try_into().map_err(|_| wrong)?),
            DigestAlgorithm::Sha512 => Bytes::Sha512(bytes.try_into().map_err(|_| wrong)?),
        }))
    }

    /// Reads a digest from hexadecimal digits of either case.
    ///
    /// # Errors
    /// When a character is no hexadecimal digit, or their number does not fit the algorithm.
    pub fn from_hex(algorithm: DigestAlgorithm, hex: &str) -> Result<Self, DigestError> {
        let bytes = base16ct::mixed::decode_vec(hex).map_err(|_| DigestError { algorithm })?;
        Self::from_bytes(algorithm, &bytes)
    }

    /// Which hash function made it.
    #[must_use]
    pub fn algorithm(&self) -> DigestAlgorithm {
        match self.0 {
            Bytes::Sha256(_) => DigestAlgorithm::Sha256,
            Bytes::Sha512(_) => DigestAlgorithm::Sha512,
        }
    }

    /// Its 32 or 64 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Sha256(bytes) => bytes,
            Bytes::Sha512(bytes) => bytes,
        }
    }

    /// Lower-case hexadecimal, as stores keep it.
    #[must_use]
    pub fn to_hex(&self) -> String {
        base16ct::lower::encode_string(self.as_bytes())
    }

    /// The masked form for display: `****` and the last four hexadecimal characters, as Smarter's
    /// `identifier` is meant to read.
    #[must_use]
    pub fn identifier(&self) -> String {
        let bytes = self.as_bytes();
        format!("****{}", base16ct::lower::encode_string(&bytes[bytes.len() - 2..]))
    }
}

impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for TokenDigest {}

impl hash::Hash for TokenDigest {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenDigest({})", self.identifier())
    }
}

/// A text or byte string that is no digest of the algorithm that was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestError {
    algorithm: DigestAlgorithm,
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.algorithm.digest_len();
        write!(
            f,
            "not a {} digest: expected {length} bytes, or {} hexadecimal characters",
            self.algorithm,
            length * 2
        )
    }
}

impl std::error::Error for DigestError {}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC_256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn hashes_as_fips_180_4_says() {
        let digest = TokenDigest::of(DigestAlgorithm::Sha256, "abc");
        assert_eq!(digest.to_hex(), ABC_256);
        let digest = TokenDigest::of(DigestAlgorithm::Sha512, "abc");
        assert!(digest.to_hex().starts_with("ddaf35a193617abacc417349ae204131"));
        assert_eq!(digest.as_bytes().len(), 64);
    }

    #[test]
    fn hex_round_trips_in_either_case_and_refuses_the_rest() {
        let algorithm = DigestAlgorithm::Sha256;
        let digest = TokenDigest::from_hex(algorithm, &ABC_256.to_uppercase()).unwrap();
        assert_eq!(digest, TokenDigest::of(algorithm, "abc"));
        for bad in ["", "zz", &ABC_256[2..], &"g".repeat(64)] {
            let error = TokenDigest::from_hex(algorithm, bad).unwrap_err();
            assert!(error.to_string().contains("64 hexadecimal"), "{error}");
        }
        assert!(TokenDigest::from_hex(DigestAlgorithm::Sha512, ABC_256).is_err());
    }

    #[test]
    fn shows_its_last_four_characters_only() {
        let digest = TokenDigest::of(DigestAlgorithm::Sha256, "abc");
        assert_eq!(digest.identifier(), "****15ad");
        assert_eq!(format!("{digest:?}"), "TokenDigest(****15ad)");
    }
}
