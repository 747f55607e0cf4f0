//! The secret a client presents, and what may be kept of it.

use std::fmt;

use zeroize::Zeroizing;

use super::digest::{DigestAlgorithm, TokenDigest};

/// A token in plain text, as it is handed to its owner once.
///
/// Any non-empty text without ASCII whitespace may be a token; a
/// [`TokenFormat`](crate::TokenFormat) governs what is issued. Its `Debug` shows nothing of it, it has no `Display`, and its memory is zeroed on drop.
pub struct Token(pub(super) Zeroizing<String>);

impl Token {
    /// Takes over a token that was made elsewhere.
    ///
    /// # Errors
    /// When the text is empty or holds ASCII whitespace, which no credential can carry.
    pub fn parse(text: impl Into<String>) -> Result<Self, TokenError> {
        let text = Zeroizing::new(text.into());
        if text.is_empty() {
            return Err(TokenError("a token is not empty"));
        }
        if text.bytes().any(is_blank) {
            return Err(TokenError("a token holds no whitespace"));
        }
        Ok(Self(text))
    }

    /// The secret itself, to be shown to its owner and to nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash under which a store knows it.
    #[must_use]
    pub fn digest(&self, algorithm: DigestAlgorithm) -> TokenDigest {
        TokenDigest::of(algorithm, &self.0)
    }

    /// Its first 15 characters.
    #[must_use]
    pub fn token_key(&self) -> TokenKey {
        TokenKey::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// ASCII whitespace as Python's `bytes.split()` knows it, and so knox: VT and FF included.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// A token's first 15 characters (knox's `token_key`), kept for people and support.
///
/// It is never a means of decision, and its `Debug` is redacted: of a short foreign token it is the
/// whole secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TokenKey(Characters);

/// 16 bytes in all, as every cached key has them.
#[derive(Clone, PartialEq, Eq)]
enum Characters {
    /// 15 bytes of UTF-8, which is what the tokens of all our formats begin with.
    Usual([u8; TokenKey::LEN]),
    /// Whatever else a foreign token begins with; nothing, if there is no token key.
    Other(Option<Box<Box<str>>>),
}

impl TokenKey {
    /// Its length in characters, as knox 5 sets it.
    pub const LEN: usize = 15;

    /// The first 15 characters of `token`.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let end = token.char_indices().nth(Self::LEN).map_or(token.len(), |(at, _)| at);
        Self(match token.as_bytes()[..end].try_into() {
            Ok(usual) => Characters::Usual(usual),
            Err(_) => Characters::Other((end > 0).then(|| Box::new(token[..end].into()))),
        })
    }

    /// The characters, for a store to keep or a person to compare; not for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        match &self.0 {
            Characters::Usual(bytes) => {
                str::from_utf8(bytes).expect("it was cut out between two characters")
            }
            Characters::Other(text) => text.as_deref().map_or("", |text| text),
        }
    }
}

impl Default for Characters {
    fn default() -> Self {
        Self::Other(None)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(redacted)")
    }
}

/// Why a text is no token, a prefix no prefix, or a token could not be made; it never quotes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenError(pub(super) &'static str);

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for TokenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_without_whitespace_is_a_token() {
        for good in ["tiny", "tökén", "a.b-c_d~e+f/g="] {
            assert_eq!(Token::parse(good).unwrap().expose(), good);
        }
        for bad in ["", "a b", "a\tb", "a\u{b}b", "a\n"] {
            assert!(Token::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_token_key_is_15_characters_not_bytes() {
        assert_eq!(TokenKey::of("tökéntökéntökéntökén").expose(), "tökéntökéntökén");
        assert_eq!(TokenKey::of("tiny").expose(), "tiny");
        assert_eq!(TokenKey::of("0123456789abcdef").expose(), "0123456789abcde");
        // 15 bytes, and fewer characters.
        assert_eq!(TokenKey::of("tökéntökén!").expose(), "tökéntökén!");
        assert_eq!(TokenKey::of("tökéntökén!").expose().len(), 15);
        assert_eq!((TokenKey::of(""), TokenKey::default().expose()), (TokenKey::default(), ""));
    }

    #[test]
    fn debug_forms_are_redacted() {
        let token = Token::parse("hunter2").unwrap();
        let shown = format!("{token:?} {:?}", token.token_key());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
