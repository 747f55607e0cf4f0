//! gRPC statuses, without depending on tonic.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response, Version, header::CONTENT_TYPE, request::Parts,
};

use super::Responder;
use crate::usecase::rejection::Rejection;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Answers with a gRPC status alone ("trailers-only"): HTTP 200, `grpc-status`, `grpc-message`, the
/// request's own content type, and no body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grpc;

/// Which requests are answered as gRPC, whatever the responder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GrpcMode {
    /// Those that are gRPC, the default: `POST` over HTTP/2 with the content type
    /// `application/grpc`, alone or followed by `+` or `;`. So are `application/grpc-web` and
    /// `application/grpc-web-text`, whatever the HTTP version.
    #[default]
    Auto,
    /// Every one.
    Always,
    /// None.
    Never,
}

impl GrpcMode {
    pub(in crate::edge) fn applies_to(self, request: &Parts) -> bool {
        match self {
            Self::Auto => request.method == Method::POST && content_type(request).is_some(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

impl Responder for Grpc {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<Bytes> {
        status(rejection.grpc_code(), rejection.detail(), request)
    }
}

/// A status alone, in answer to `request`.
pub(super) fn status(code: u8, message: &str, request: &Parts) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    let content_type = content_type(request).cloned();
    headers.insert(
        CONTENT_TYPE,
        content_type.unwrap_or_else(|| HeaderValue::from_static("application/grpc")),
    );
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code)));
    let message = HeaderValue::try_from(percent_encoded(message));
    headers.insert(GRPC_MESSAGE, message.expect("percent-encoded text is visible ASCII"));
    response
}

/// The request's content type, if it is one of gRPC's and may come with this HTTP version.
fn content_type(request: &Parts) -> Option<&HeaderValue> {
    let value = request.headers.get(CONTENT_TYPE)?;
    let is = |media_type: &str| {
        let value = value.as_bytes();
        let (head, rest) = value.split_at_checked(media_type.len()).unwrap_or((value, b""));
        head.eq_ignore_ascii_case(media_type.as_bytes())
            && matches!(rest.first(), None | Some(b'+' | b';'))
    };
    let is_grpc = request.version == Version::HTTP_2 && is("application/grpc");
    let is_web = is("application/grpc-web") || is("application/grpc-web-text");
    (is_grpc || is_web).then_some(value)
}

/// The gRPC protocol's encoding of `grpc-message`: visible ASCII and blanks but `%` as they are,
/// every other byte of the UTF-8 form as `%XX`.
fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => {
                write!(encoded, "%{byte:02X}").expect("a string takes all that is written");
            }
            plain => encoded.push(char::from(plain)),
        }
    }
    encoded
}
