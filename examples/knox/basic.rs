//! Who a request says it is, by Basic (RFC 7617).

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq as _;

/// The user's id, if the request knows `login`, which is `ID:PASSWORD`.
pub(crate) fn user(login: &str, headers: &HeaderMap) -> Option<String> {
    let (scheme, sent) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let sent = STANDARD.decode(sent.trim()).ok()?;
    let (id, _) = login.split_once(':')?;
    // How much of it was right is not told by the time that it takes.
    let is_right = scheme.eq_ignore_ascii_case("Basic") && bool::from(sent.ct_eq(login.as_bytes()));
    is_right.then(|| id.to_owned())
}
