//! How a thread knows a token again: by 128 bits that nobody outside can work out.
//!
//! A fingerprint is two halves of 64 bits, made alike from keys that have nothing to do with each other.
//! The token is cut into words of 64 bits, each word is multiplied with a key of 128 bits of its own, all
//! are added up with one key more, modulo 2¹²⁸, and the upper 64 bits of the sum are the half. This is
//! the multilinear hash of Carter and Wegman, in the form that Lemire and Kaser gave it (*Strongly
//! universal string hashing is fast*, The Computer Journal 57, 2014).
//!
//! # Why two tokens hardly ever have the same
//! Take two tokens that differ. The length of each is one of its words, so that some word differs, by a
//! d of less than 2⁶⁴; let 2ᵃ be the greatest power of two that divides it. The key of this word is drawn by
//! itself, whatever the others are, and so the difference D of both sums takes each of 2¹²⁸⁻ᵃ values, which
//! lie 2ᵃ apart, with the same probability. The key that is added for itself makes the one sum any number,
//! whatever D is. Now the upper halves agree only for a D between −2⁶⁴ and 2⁶⁴, and then for a share of
//! 1 − |D| / 2⁶⁴ of the sums. Over values that lie 2ᵃ apart these shares add up to 2⁶⁴⁻ᵃ: in all, a
//! probability of 2⁶⁴⁻ᵃ / 2¹²⁸⁻ᵃ = 2⁻⁶⁴, and for both halves of 2⁻¹²⁸. This rests on how the keys were drawn
//! and on nothing else.
//!
//! It holds as long as nobody learns what a token's sum is: from a few of them the keys could be worked
//! out. No fingerprint is ever told, printed, or found outside of its cache.

/// How long a token with a fingerprint may be: what is longer is known to no thread.
const MOST_BYTES: usize = 8 * WORDS;
const WORDS: usize = 32;

/// What stands for a token in this process, and in this cache alone.
///
/// Two `u64` and not one `u128`: its alignment makes the tag of every enum around it 16 bytes wide, which
/// is written in halves and read whole, and for that a processor waits.
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

/// The keys of one cache's fingerprints, never told to anybody: one of each half for each word.
///
/// On cache lines of their own, two by two as a processor may fetch them: every hit reads them, and if one line
/// were shared with what some thread happens to have allocated beside, each of its writes would take the
/// line from all others.
#[repr(align(128))]
pub(super) struct FingerprintKey {
    start: [u128; 2],
    length: [u128; 2],
    words: [[u128; 2]; WORDS],
}

impl FingerprintKey {
    /// Keys of the system's own randomness; `None` if it has none to give.
    pub(super) fn random() -> Option<Box<Self>> {
        let mut bytes = [[[0; 16]; 2]; WORDS + 2];
        getrandom::fill(bytes.as_flattened_mut().as_flattened_mut()).ok()?;
        let keys = bytes.map(|halves| halves.map(u128::from_ne_bytes));
        let [start, length, words @ ..] = keys;
        Some(Box::new(Self { start, length, words }))
    }

    /// `None` of a token that is too long.
    #[inline]
    pub(super) fn of(&self, token: &[u8]) -> Option<Fingerprint> {
        if token.len() > MOST_BYTES {
            return None;
        }
        let (words, rest) = token.as_chunks();
        let mut sums = self.start;
        add(&mut sums, &self.length, token.len() as u64);
        for (word, keys) in words.iter().zip(&self.words) {
            add(&mut sums, keys, u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            add(&mut sums, &self.words[words.len()], last_word(token, rest));
        }
        Some(Fingerprint(sums.map(|sum| (sum >> 64) as u64)))
    }
}

/// The word that ends with the token's end, and so begins in the word before it, if there is one.
#[inline]
fn last_word(token: &[u8], rest: &[u8]) -> u64 {
    match token.last_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

#[inline]
fn add(sums: &mut [u128; 2], keys: &[u128; 2], word: u64) {
    for (sum, key) in sums.iter_mut().zip(keys) {
        *sum = sum.wrapping_add(key.wrapping_mul(u128::from(word)));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Seen to fail with keys of zeros.
    #[test]
    fn a_key_makes_one_fingerprint_of_a_token_and_another_key_another() {
        let [one, other] = [(); 2].map(|()| FingerprintKey::random().unwrap());
        let of = |key: &FingerprintKey, token: &[u8]| key.of(token).unwrap();
        assert!(of(&one, b"token") == of(&one, b"token"));
        assert!(of(&one, b"token") != of(&one, b"tokem"));
        assert!(of(&one, b"token") != of(&other, b"token"));
    }

    /// Whatever is left out of the sum, or keyed like something else, leaves a pair of these alike in a half.
    /// Seen to fail without the length, without the last word, with one key for all words, and with the
    /// same keys for both halves.
    #[test]
    fn tokens_that_hardly_differ_differ_in_both_halves() {
        let key = FingerprintKey::random().unwrap();
        let base: Vec<u8> = (0..MOST_BYTES).map(|at| (at / 8 % 7) as u8).collect();
        let mut tokens = HashSet::new();
        for length in 0..=MOST_BYTES {
            tokens.insert(base[..length].to_vec());
            tokens.insert(vec![0; length]);
            for at in 0..length {
                // A bit, and each word in another one's place.
                let mut other = base[..length].to_vec();
                other[at] ^= 1 << (at % 8);
                tokens.insert(other.clone());
                other.rotate_left(8.min(length));
                tokens.insert(other);
            }
        }
        // Each half, and what one tells of the other.
        let mut all: [HashSet<u64>; 3] = Default::default();
        for token in &tokens {
            let [one, other] = key.of(token).unwrap().0;
            for (seen, it) in all.iter_mut().zip([one, other, one.wrapping_sub(other)]) {
                assert!(seen.insert(it), "{token:?}");
            }
        }
        assert!(tokens.len() > 60_000, "{}", tokens.len());
    }

    /// As a table's sets are chosen by it. Seen to fail with the lower 64 bits of the sum.
    #[test]
    fn places_of_tokens_that_are_numbers_spread_evenly() {
        let key = FingerprintKey::random().unwrap();
        let mut sets = [0; 64];
        for number in 0..64_000_u32 {
            let token = format!("{number:064x}");
            sets[key.of(token.as_bytes()).unwrap().place() % 64] += 1;
        }
        // Each expects 1,000, with a standard deviation of 31.
        assert!(sets.iter().all(|count| (700..1_300).contains(count)), "{sets:?}");
    }

    #[test]
    fn a_token_that_is_too_long_has_none() {
        let key = FingerprintKey::random().unwrap();
        assert!(key.of(&[b'a'; MOST_BYTES]).is_some());
        assert!(key.of(&[b'a'; MOST_BYTES + 1]).is_none());
    }
}
