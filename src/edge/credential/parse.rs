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
        return Err(Rejection::new(RejectionKind::Malformed)
            .with_detail("the token in the key header contains blanks"));
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
