//! Reads one field value: scheme, number of parts, UTF-8, in knox's order.

use std::str;

use super::MAX_LEN;
use crate::{
    usecase::rejection::{Rejection, RejectionKind},
    value::token::is_blank,
};

/// The scheme that an `Authorization` value begins with; `None` if it holds blanks only.
///
/// It may be a bare token that somebody sent without a scheme: it must not be shown.
pub(super) fn scheme(value: &[u8]) -> Option<&[u8]> {
    parts(value).next()
}

/// The token behind the scheme of an `Authorization` value.
pub(super) fn behind_scheme(value: &[u8]) -> Result<&str, Rejection> {
    if value.len() > MAX_LEN {
        return Err(Rejection::new(RejectionKind::TooLong));
    }
    only_behind_scheme(value)
}

/// The same of a value of any length.
pub(super) fn only_behind_scheme(value: &[u8]) -> Result<&str, Rejection> {
    let mut parts = parts(value).skip(1);
    let token = parts.next().ok_or_else(|| {
        Rejection::without_token("no token follows the scheme in the Authorization header")
    })?;
    if parts.next().is_some() {
        return Err(Rejection::new(RejectionKind::Malformed)
            .with_detail("the token in the Authorization header contains blanks"));
    }
    text(token)
}

/// The token that is a key header's whole value, but for blanks around it.
pub(super) fn whole(value: &[u8]) -> Result<&str, Rejection> {
    if value.len() > MAX_LEN {
        return Err(Rejection::new(RejectionKind::TooLong));
    }
    let mut parts = parts(value);
    let token =
        parts.next().ok_or_else(|| Rejection::without_token("the key header carries no token"))?;
    if parts.next().is_some() {
        return Err(Rejection::new(RejectionKind::Malformed).with_detail(
            "the token in the key header contains blanks; send the key alone, without a scheme",
        ));
    }
    text(token)
}

/// Python's `bytes.split()`: runs of blanks separate, blanks at either end count for nothing.
fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| is_blank(*byte)).filter(|part| !part.is_empty())
}

fn text(token: &[u8]) -> Result<&str, Rejection> {
    str::from_utf8(token).map_err(|_| Rejection::new(RejectionKind::NotUtf8))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vertical tab and form feed can't stand in a header value, so only the parser meets them.
    #[test]
    fn splits_where_python_does() {
        let values: [&[u8]; 8] = [
            b"Token\x0babc",
            b"Token\x0cabc",
            b"\x0bToken\x0c\x0b abc",
            b"Token abc\x0b",
            b"Token abc\x0c\x0c",
            b"\x0c\x0bToken\tabc \x0b",
            b"Token\nabc\r",
            b"Token \r\n\t\x0b\x0c abc",
        ];
        for value in values {
            assert_eq!(scheme(value), Some(&b"Token"[..]), "{value:?}");
            assert_eq!(behind_scheme(value), Ok("abc"), "{value:?}");
        }
        // NUL, unit separators, NEL and the no-break space separate text in Python, but not bytes.
        for byte in [0, 0x1c, 0x1d, 0x1e, 0x1f, 0x7f, 0x85, 0xa0] {
            let value = [b"Token", &[byte][..], b"abc"].concat();
            assert_eq!(scheme(&value), Some(&value[..]), "{byte:#x}");
        }
    }

    #[test]
    fn judges_in_knox_s_order() {
        let kind = |value: &[u8]| behind_scheme(value).unwrap_err().kind();
        assert_eq!(scheme(b" \x0b\x0c\t"), None);
        assert!(behind_scheme(b"Token\x0b").unwrap_err().lacks_token());
        assert!(whole(b"\x0b \x0c").unwrap_err().lacks_token());
        assert_eq!(kind(b"Token \xff x"), RejectionKind::Malformed, "parts before UTF-8");
        assert_eq!(kind(b"Token \xff"), RejectionKind::NotUtf8);
        assert_eq!(whole(b"\x0ba\x0c"), Ok("a"));
        assert_eq!(whole(b"a\x0bb").unwrap_err().kind(), RejectionKind::Malformed);
        let long = [b"Token ", &[b'a'; MAX_LEN][..]].concat();
        assert_eq!(kind(&long), RejectionKind::TooLong);
        assert!(behind_scheme(&long[..MAX_LEN]).is_ok());
    }
}
