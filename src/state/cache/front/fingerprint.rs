//! How a thread knows a token again: by 128 bits that nobody outside can work out.

use siphasher::sip128::SipHasher13;

/// What stands for a token in this process, and in this cache alone.
///
/// Two words and not one of 128 bits, which would be aligned so that every enum around it has a tag of 128
/// bits as well, written in halves and read as a whole: a processor waits for that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u64; 2]);

impl Fingerprint {
    /// The half that says in which set of a table it stands.
    pub(super) fn place(self) -> usize {
        // The low bits are all that is used, however many there are.
        self.0[0] as usize
    }

    /// The other half.
    pub(super) fn tag(self) -> u64 {
        self.0[1]
    }
}

/// The key of one cache's fingerprints, never told to anybody.
pub(super) struct FingerprintKey(SipHasher13);

impl FingerprintKey {
    /// A key of the system's own randomness; `None` if it has none to give.
    pub(super) fn random() -> Option<Self> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).ok()?;
        Some(Self(SipHasher13::new_with_key(&key)))
    }

    #[inline]
    pub(super) fn of(&self, token: &[u8]) -> Fingerprint {
        let print = self.0.hash(token);
        Fingerprint([print.h1, print.h2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to fail with a key of zeros.
    #[test]
    fn a_key_makes_one_fingerprint_of_a_token_and_another_key_another() {
        let [one, other] = [(); 2].map(|()| FingerprintKey::random().unwrap());
        assert!(one.of(b"token") == one.of(b"token"));
        assert!(one.of(b"token") != one.of(b"tokem"));
        assert!(one.of(b"token") != other.of(b"token"));
    }
}
