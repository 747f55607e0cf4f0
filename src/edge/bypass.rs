//! Ready-made predicates for [`TokenAuthLayer::insecure_bypass`](crate::TokenAuthLayer::insecure_bypass):
//! which requests may pass unasked.

use std::collections::HashSet;

use http::{
    Method,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
    request::Parts,
};

/// Lets requests pass whose path is one of `paths`, byte for byte, whatever their method.
///
/// The path is compared as the layer sees it: raw, without its query. Inside axum's `nest` the
/// prefix is gone; `/health/`, `/a/../health` and `/%68ealth` are other paths than `/health`. So a
/// spelling can only fail to bypass, unless something *inside* the layer normalizes paths: then
/// name no path that another route's spelling may turn into.
pub fn paths<P: Into<String>>(
    paths: impl IntoIterator<Item = P>,
) -> impl Fn(&Parts) -> bool + Clone + Send + Sync + 'static {
    let paths: HashSet<String> = paths.into_iter().map(Into::into).collect();
    move |head| paths.contains(head.uri.path())
}

/// Lets CORS preflight requests pass: `OPTIONS` with an `Origin` and an
/// `Access-Control-Request-Method`, as the Fetch standard defines them.
///
/// Browsers send no credential with them. It is needed only where the layer that answers them
/// stands inside this one; a `CorsLayer` outside needs no bypass.
pub fn cors_preflight() -> impl Fn(&Parts) -> bool + Clone + Send + Sync + 'static {
    |head: &Parts| {
        head.method == Method::OPTIONS
            && head.headers.contains_key(ORIGIN)
            && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }
}
