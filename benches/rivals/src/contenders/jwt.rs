//! An HS256 JWT in place of a key: nothing is looked up, and nothing can be taken back.
//!
//! Its flags are those of the moment at which it was issued; they are checked all the same, so that all
//! contenders judge the same.

use std::{future::ready, sync::Arc};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use http::{Extensions, HeaderValue, Request, StatusCode};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation, decode};
use jwt_authorizer::{AuthError, IntoLayer as _, JwtAuthorizer};
use serde::{Deserialize, Serialize};
use tower::{layer::util::Stack, util::MapResponseLayer};
use tower_http::auth::AsyncRequireAuthorizationLayer;

use super::{answer, refused, token_of};
use crate::{
    contender::{Answered, Contender, Credentials},
    setting::credential,
    time::now,
};

/// As long as HS256 wants it at least.
const SECRET: &str = "c3d4e5f607185f0c6a5b1c1f4e1d9b7f";

#[derive(Clone, Deserialize, Serialize)]
struct Claims {
    /// The key's id.
    jti: Box<str>,
    /// Its owner.
    sub: Box<str>,
    name: Box<str>,
    iat: i64,
    exp: i64,
    is_active: bool,
    owner_is_active: bool,
}

impl Claims {
    fn good() -> Self {
        Self {
            jti: "5f0c6a5b-1c1f-4e1d-9b7f-6f3a2e8d7c6b".into(),
            sub: "ada".into(),
            name: "a key of the rivals".into(),
            iat: now().timestamp(),
            exp: (now() + TimeDelta::days(30)).timestamp(),
            is_active: true,
            owner_is_active: true,
        }
    }

    fn sign(&self, secret: &str) -> HeaderValue {
        let key = EncodingKey::from_secret(secret.as_bytes());
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), self, &key);
        credential("Bearer", &token.expect("claims are JSON"))
    }
}

fn credentials() -> Credentials {
    let of = |edit: fn(&mut Claims)| {
        let mut claims = Claims::good();
        edit(&mut claims);
        claims.sign(SECRET)
    };
    Credentials {
        good: Claims::good().sign(SECRET),
        refused: vec![
            ("signed by another", Claims::good().sign("another secret of the same length")),
            ("expired", of(|claims| claims.exp = claims.iat - 1)),
            ("key inactive", of(|claims| claims.is_active = false)),
            ("owner inactive", of(|claims| claims.owner_is_active = false)),
        ],
    }
}

/// By hand: the newest jsonwebtoken, on the quicker of its two libraries; key and rules are made once.
pub(crate) fn by_jsonwebtoken() -> Contender {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    let held = Arc::new((DecodingKey::from_secret(SECRET.as_bytes()), validation));
    let layer = AsyncRequireAuthorizationLayer::new(move |request: Request<Body>| {
        let (key, validation) = &*held;
        ready(admit(request, key, validation))
    });
    let holds = |extensions: &Extensions| extensions.get::<Arc<Claims>>().is_some();
    Contender::new("JWT, jsonwebtoken 11 by hand", credentials(), holds, layer)
}

fn admit(
    mut request: Request<Body>,
    key: &DecodingKey,
    validation: &Validation,
) -> Result<Request<Body>, Response> {
    let token = token_of(&request, "Bearer ").ok_or_else(refused)?;
    let decoded: TokenData<Claims> = decode(token, key, validation).map_err(|_| refused())?;
    let claims = decoded.claims;
    if !(claims.is_active && claims.owner_is_active) {
        return Err(refused());
    }
    request.extensions_mut().insert(Arc::new(claims));
    Ok(request)
}

/// The crate that people take, whose extractors are for axum 0.7: its layer is for any service whose
/// response can be made of its error, so that axum 0.8's has to be wrapped, which costs nothing.
pub(crate) async fn by_jwt_authorizer() -> Contender {
    let authorizer = JwtAuthorizer::<Claims>::from_secret(SECRET)
        .validation(jwt_authorizer::Validation::new().leeway(0))
        .check(|claims| claims.is_active && claims.owner_is_active)
        .build()
        .await
        .expect("a secret is a key");
    let wrap = MapResponseLayer::new(Answer as fn(Response) -> Answer);
    let layer = Stack::new(wrap, authorizer.into_layer());
    Contender::new("JWT, jwt-authorizer 0.15", credentials(), holds_token_data, layer)
}

fn holds_token_data(extensions: &Extensions) -> bool {
    extensions.get::<jsonwebtoken_9::TokenData<Claims>>().is_some()
}

/// A response of axum 0.8's that jwt-authorizer can refuse with.
pub(crate) struct Answer(Response);

impl From<AuthError> for Answer {
    fn from(_: AuthError) -> Self {
        Self(answer(StatusCode::UNAUTHORIZED))
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Answered for Answer {
    fn status(&self) -> StatusCode {
        self.0.status()
    }
}
