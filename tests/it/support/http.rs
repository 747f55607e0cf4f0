//! Requests and responses, spelt short.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body::Body;
use http_body_util::BodyExt as _;
use tower::{Service, ServiceExt as _};
use tower_token_auth::Rejection;

use super::TOKEN;

/// A `GET /` with an empty body of any kind.
pub(crate) fn get<B: Default>() -> Request<B> {
    Request::new(B::default())
}

/// A `GET /` that carries this `Authorization`.
pub(crate) fn with_authorization<B: Default>(value: &str) -> Request<B> {
    let mut request = get();
    request.headers_mut().insert(AUTHORIZATION, value.parse().expect("a header value"));
    request
}

/// A `GET /` that carries [`TOKEN`].
pub(crate) fn with_token<B: Default>() -> Request<B> {
    with_authorization(&format!("Token {TOKEN}"))
}

/// What a response says, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// What the extensions tell a layer further out; nothing of it crosses a wire.
    pub(crate) rejection: Option<Rejection>,
}

impl Answer {
    pub(crate) async fn read<B>(response: Response<B>) -> Self
    where
        B: Body<Error: std::fmt::Debug>,
    {
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        let rejection = head.extensions.get().cloned();
        Self { status: head.status, headers: head.headers, body, rejection }
    }

    /// The only value of a header; panics on several, as a test that asks for one means one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().expect("visible ASCII"));
        assert_eq!(values.next(), None, "{name} is there more than once");
        value
    }

    /// The `kind` of a problem document.
    pub(crate) fn kind(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        problem["kind"].as_str().expect("a kind").to_owned()
    }
}

/// Sends one request through a clone of a service.
pub(crate) async fn send<S, B, R>(service: &S, request: Request<B>) -> Answer
where
    S: Service<Request<B>, Response = Response<R>, Error: std::fmt::Debug> + Clone,
    R: Body<Error: std::fmt::Debug>,
{
    Answer::read(service.clone().oneshot(request).await.expect("an answer")).await
}

/// A plain service that answers with the name of the key that called it, or with how it passed.
pub(crate) async fn name_of_key<B>(
    request: Request<B>,
) -> Result<Response<http_body_util::Full<Bytes>>, std::convert::Infallible> {
    let name = passed_as(request.extensions());
    Ok(Response::new(http_body_util::Full::from(name)))
}

/// `key NAME`, `anonymous`, `bypassing`, or `nobody` where no layer ran.
pub(crate) fn passed_as(extensions: &http::Extensions) -> String {
    use tower_token_auth::{AuthenticatedKey, Visitor};
    match (extensions.get::<AuthenticatedKey>(), extensions.get::<Visitor>()) {
        (Some(_), Some(_)) => panic!("a key and a visitor at once"),
        (Some(key), None) => format!("key {}", key.name()),
        (None, Some(visitor)) if visitor.is_bypassing() => "bypassing".to_owned(),
        (None, Some(_)) => "anonymous".to_owned(),
        (None, None) => "nobody".to_owned(),
    }
}
