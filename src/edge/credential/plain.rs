//! A credential where and as nearly every client sends it, made out without looking at all else.

use http::{HeaderMap, header::AUTHORIZATION};

use super::{MAX_LEN, source::Sources};
use crate::value::token::is_blank;

impl Sources {
    /// The bytes where a request's one token stands, its field marked; `None` where more has to be looked
    /// at. They may be no token at all, which [`find`](Self::find) decides; if they are one, it finds the
    /// same. What a thread knows by these bytes was found to be a token then.
    #[inline]
    pub(in crate::edge) fn in_its_place<'h>(&self, headers: &'h mut HeaderMap) -> Option<&'h [u8]> {
        // As many values as names: no field is repeated.
        if !self.headers.is_empty() || headers.len() != headers.keys_len() {
            return None;
        }
        let value = headers.get_mut(AUTHORIZATION)?;
        value.set_sensitive(true);
        let value = value.as_bytes();
        self.schemes.iter().find_map(|scheme| behind(scheme.as_bytes(), value))
    }
}

/// What stands behind a scheme and one blank, with no blanks around it.
#[inline]
fn behind<'h>(scheme: &[u8], value: &'h [u8]) -> Option<&'h [u8]> {
    let (word, rest) = value.split_at_checked(scheme.len())?;
    let (b' ', token) = rest.split_first()? else { return None };
    let is_trimmed = !is_blank(*token.first()?) && !is_blank(*token.last()?);
    // Nearly all spell it as it is configured, which is quicker to see.
    let is_scheme = word == scheme || word.eq_ignore_ascii_case(scheme);
    (is_trimmed && is_scheme && value.len() <= MAX_LEN).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::edge::credential::Presented;

    /// Seen to fail with blanks let pass at either end, without the limit, and with a field that is
    /// repeated.
    #[test]
    fn what_is_in_its_place_is_what_a_closer_look_finds() {
        let mut sources = Sources::default();
        sources.add_scheme("Bearer").unwrap();
        let long = "a".repeat(MAX_LEN);
        let values: [&[u8]; 17] = [
            b"Token abc",
            b"tOKEN abc",
            b"Bearer abc",
            b"Basic abc",
            b"Token",
            b"Token ",
            b"Token\tabc",
            b"Token  abc",
            b"Token \tabc",
            b"Token abc ",
            b"Token abc\t",
            b" Token abc",
            b"Token a b",
            b"Token \xff",
            b"Tokenabc",
            b"Token \xc3\xa9",
            format!("Token {long}").leak().as_bytes(),
        ];
        for repeated in [false, true] {
            let mut found = 0;
            for value in values {
                let mut headers = HeaderMap::new();
                let field = HeaderValue::from_bytes(value).unwrap();
                headers.append(AUTHORIZATION, field.clone());
                if repeated {
                    headers.append(AUTHORIZATION, field);
                }
                let Some(placed) = sources.in_its_place(&mut headers).map(<[u8]>::to_vec) else {
                    continue;
                };
                assert!(!repeated && value.len() <= MAX_LEN, "{value:?}");
                assert!(headers[AUTHORIZATION].is_sensitive());
                if let Ok(Presented::Token(_, token)) = sources.find(&headers) {
                    assert_eq!(token.as_bytes(), placed, "{value:?}");
                    found += 1;
                }
            }
            assert_eq!(found, if repeated { 0 } else { 4 });
        }
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, HeaderValue::from_static("Token abc"));
        sources.add_header("x-api-key").unwrap();
        assert!(sources.in_its_place(&mut headers).is_none(), "there may be another one");
    }
}
