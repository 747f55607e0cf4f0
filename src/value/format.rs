//! What issued tokens look like, how one is made, and how its checksum is told.

use zeroize::Zeroizing;

use super::token::{Token, TokenError};

/// Base62 as leak scanners expect it: digits, upper case, lower case.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Characters of entropy in a checksummed token: 36 × log₂ 62 is 214 bits.
const ENTROPY_LEN: usize = 36;
/// The least entropy that a foreign checksummed token is read with.
const MIN_ENTROPY_LEN: usize = 30;
const CHECKSUM_LEN: usize = 6;

/// What an issued token looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFormat(Format);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Format {
    Knox { prefix: Box<str> },
    Checksummed { prefix: Box<str> },
}

impl TokenFormat {
    /// knox's format: `prefix`, then 64 hexadecimal characters (256 bits from the operating
    /// system's generator). The default, with an empty prefix.
    ///
    /// # Errors
    /// When the prefix is longer than 10 characters, as in knox, or holds anything but visible ASCII.
    pub fn knox(prefix: &str) -> Result<Self, TokenError> {
        if prefix.len() > 10 {
            return Err(TokenError("a knox prefix has at most 10 characters"));
        }
        if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError("a token prefix holds visible ASCII characters only"));
        }
        Ok(Self(Format::Knox { prefix: prefix.into() }))
    }

    /// A format that leak scanners can verify offline: `prefix_`, 36 base62 characters (214 bits
    /// from the operating system's generator), then their CRC-32/ISO-HDLC in 6 base62 characters.
    ///
    /// # Errors
    /// When the prefix is empty, longer than 32 characters, or holds anything but ASCII letters,
    /// digits and `_`.
    pub fn checksummed(prefix: &str) -> Result<Self, TokenError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !(1..=32).contains(&prefix.len()) || !prefix.bytes().all(plain) {
            return Err(TokenError(
                "a checksummed prefix is 1 to 32 ASCII letters, digits or underscores",
            ));
        }
        Ok(Self(Format::Checksummed { prefix: prefix.into() }))
    }

    /// Makes a token from the operating system's generator.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn generate(&self) -> Result<Token, TokenError> {
        // Written with room for all of it, so that no half of a secret stays behind a reallocation.
        let mut text = Zeroizing::new(String::with_capacity(96));
        match &self.0 {
            Format::Knox { prefix } => {
                let mut seed = Zeroizing::new([0_u8; 32]);
                fill(seed.as_mut())?;
                text.push_str(prefix);
                text.push_str(&Zeroizing::new(base16ct::lower::encode_string(seed.as_ref())));
            }
            Format::Checksummed { prefix } => {
                text.push_str(prefix);
                text.push('_');
                let start = text.len();
                push_base62(&mut text)?;
                let checksum = checksum(&text.as_bytes()[start..]);
                text.push_str(std::str::from_utf8(&checksum).expect("base62 is ASCII"));
            }
        }
        Ok(Token(text))
    }

    /// The same format with another prefix.
    ///
    /// # Errors
    /// When the format can't take the prefix.
    pub fn with_prefix(&self, prefix: &str) -> Result<Self, TokenError> {
        match &self.0 {
            Format::Knox { .. } => Self::knox(prefix),
            Format::Checksummed { .. } => Self::checksummed(prefix),
        }
    }

    /// The prefix whose tokens carry a checksum, if this format has one.
    pub(crate) fn checksummed_prefix(&self) -> Option<&str> {
        match &self.0 {
            Format::Knox { .. } => None,
            Format::Checksummed { prefix } => Some(prefix),
        }
    }
}

impl Default for TokenFormat {
    fn default() -> Self {
        Self(Format::Knox { prefix: Box::default() })
    }
}

/// Fills `bytes` from the operating system's generator.
fn fill(bytes: &mut [u8]) -> Result<(), TokenError> {
    getrandom::fill(bytes).map_err(|_| {
        TokenError("the operating system's random generator failed; no token was made")
    })
}

/// Appends [`ENTROPY_LEN`] characters drawn evenly from base62; a byte of 248 or more is drawn
/// again, as 256 is no multiple of 62.
fn push_base62(text: &mut String) -> Result<(), TokenError> {
    let mut left = ENTROPY_LEN;
    let mut pool = Zeroizing::new([0_u8; 64]);
    while left > 0 {
        fill(pool.as_mut())?;
        for byte in pool.iter().filter(|byte| **byte < 248).take(left) {
            text.push(char::from(BASE62[usize::from(byte % 62)]));
            left -= 1;
        }
    }
    Ok(())
}

/// Whether `token`, which begins with `prefix_`, carries the checksum of its own entropy.
///
/// `None` when the token is not of that prefix: the last `_` separates, as a prefix may hold one.
pub(crate) fn checksum_holds(token: &str, prefix: &str) -> Option<bool> {
    let (head, body) = token.rsplit_once('_')?;
    if head != prefix {
        return None;
    }
    let body = body.as_bytes();
    if body.len() < MIN_ENTROPY_LEN + CHECKSUM_LEN || !body.iter().all(u8::is_ascii_alphanumeric) {
        return Some(false);
    }
    let (entropy, sum) = body.split_at(body.len() - CHECKSUM_LEN);
    Some(checksum(entropy) == sum)
}

/// CRC-32/ISO-HDLC in base62, left-padded with `0`.
fn checksum(entropy: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(entropy) as usize;
    let mut text = [b'0'; CHECKSUM_LEN];
    for place in text.iter_mut().rev() {
        *place = BASE62[rest % 62];
        rest /= 62;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn knox_tokens_are_a_prefix_and_64_hex_characters() {
        let token = TokenFormat::knox("acme_").unwrap().generate().unwrap();
        let hex = token.expose().strip_prefix("acme_").unwrap();
        assert_eq!(hex.len(), 64);
        assert!(hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
        assert!(TokenFormat::knox("elevenchars").is_err());
        assert!(TokenFormat::knox("a b").is_err());
        assert_eq!(TokenFormat::default(), TokenFormat::knox("").unwrap());
    }

    #[test]
    fn checksummed_tokens_verify_and_a_changed_character_does_not() {
        let token = TokenFormat::checksummed("my_app").unwrap().generate().unwrap();
        let text = token.expose();
        assert_eq!(text.len(), "my_app_".len() + 36 + 6);
        assert_eq!(checksum_holds(text, "my_app"), Some(true));
        assert_eq!(checksum_holds(text, "my"), None, "the last underscore separates");
        for at in "my_app_".len()..text.len() {
            let mut changed = text.to_owned();
            let other = if &text[at..=at] == "x" { "y" } else { "x" };
            changed.replace_range(at..=at, other);
            assert_eq!(checksum_holds(&changed, "my_app"), Some(false), "at {at}");
        }
        assert_eq!(checksum_holds("my_app_tooshort", "my_app"), Some(false));
        assert_eq!(checksum_holds("", "my_app"), None);
        for bad in ["", "with-dash", &"p".repeat(33)] {
            assert!(TokenFormat::checksummed(bad).is_err());
        }
    }

    #[test]
    fn the_checksum_is_crc_32_iso_hdlc_in_base62() {
        // The catalogue's check value: CRC-32/ISO-HDLC of "123456789" is 0xCBF43926.
        assert_eq!(crc32fast::hash(b"123456789"), 0xCBF4_3926);
        let value = checksum(b"123456789").iter().fold(0_u64, |sum, digit| {
            sum * 62 + BASE62.iter().position(|known| known == digit).unwrap() as u64
        });
        assert_eq!(value, 0xCBF4_3926);
        assert_eq!(&checksum(b""), b"000000");
    }

    #[test]
    fn no_two_tokens_are_alike() {
        let format = TokenFormat::checksummed("t").unwrap();
        let made: HashSet<String> =
            (0..1000).map(|_| format.generate().unwrap().expose().to_owned()).collect();
        assert_eq!(made.len(), 1000);
    }
}
