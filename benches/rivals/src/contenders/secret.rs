//! One token for everybody, compared in constant time: the least that there is.

use axum::body::Body;
use constant_time_eq::constant_time_eq;
use http::{Request, header};
use tower_http::validate_request::ValidateRequestHeaderLayer;

use super::refused;
use crate::{
    contender::{Contender, Credentials},
    setting::tokens,
};

pub(crate) fn contender() -> Contender {
    // Of a key's state it knows nothing: every other token is just another one.
    let Credentials { good, refused: others } = tokens();
    let secret = good.clone();
    let layer = ValidateRequestHeaderLayer::custom(move |request: &mut Request<Body>| {
        let value = request.headers().get(header::AUTHORIZATION).ok_or_else(refused)?;
        if constant_time_eq(value.as_bytes(), secret.as_bytes()) { Ok(()) } else { Err(refused()) }
    });
    let credentials = Credentials { good, refused: others };
    Contender::new("one secret, compared", credentials, |_| true, layer)
}
