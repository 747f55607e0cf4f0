//! A plain knox key's id, back to the digests that it can be of: a range on the primary key.

use crate::value::key::KeyId;

/// The first and the last digest whose key has this id, in hexadecimal; `None` if no digest makes it.
pub(super) fn digests(id: KeyId) -> Option<(String, String)> {
    let bits = id.as_uuid().as_u128();
    let (version, variant) = (bits >> 76 & 0xf, bits >> 62 & 0b11);
    if (version, variant) != (8, 0b10) {
        return None;
    }
    // The 122 bits that are the digest's, and two more to make digits of them.
    let digest = bits >> 80 << 74 | (bits >> 64 & 0xfff) << 62 | bits & ((1 << 62) - 1);
    let (first, last) = (digest << 2, digest << 2 | 0b11);
    Some((format!("{first:031x}{:097}", 0), format!("{last:031x}{}", "f".repeat(97))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::digest::{DigestAlgorithm, TokenDigest};

    #[test]
    fn the_range_holds_the_digest_that_made_the_id_and_hardly_another() {
        for token in ["a", "b", "c", "d"] {
            let digest = TokenDigest::of(DigestAlgorithm::Sha512, token);
            let (first, last) = digests(KeyId::of_digest(&digest)).unwrap();
            assert_eq!((first.len(), last.len()), (128, 128));
            let hex = digest.to_hex();
            assert!(first <= hex && hex <= last, "{first} {hex} {last}");
            assert_eq!(first[..30], last[..30]);
        }
        assert_eq!(digests(KeyId::random()), None);
    }
}
