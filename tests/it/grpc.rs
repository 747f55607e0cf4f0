//! A real tonic server and client over HTTP/2: codes 16 and 14, never Unknown.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tonic::{
    Code, Status,
    body::Body,
    client::Grpc as Client,
    metadata::MetadataValue,
    server::{Grpc, NamedService, UnaryService},
    transport::{Channel, Endpoint, Server},
};
use tonic_prost::ProstCodec;
use tower::{Layer as _, Service, service_fn};
use tower_token_auth::{AuthenticatedKey, TokenAuthLayer};

use crate::support::{Scripted, TOKEN, authenticator, issue};

#[derive(Clone, PartialEq, prost::Message)]
struct Name {
    #[prost(string, tag = "1")]
    name: String,
}

/// Answers with the name of the key that called.
#[derive(Clone)]
pub(crate) struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "test.Greeter";
}

struct Greet;

impl UnaryService<Name> for Greet {
    type Response = Name;
    type Future = std::future::Ready<Result<tonic::Response<Name>, Status>>;

    fn call(&mut self, request: tonic::Request<Name>) -> Self::Future {
        let key = request.extensions().get::<AuthenticatedKey>();
        let name = key.map_or_else(|| "nobody".to_owned(), |key| key.name().to_owned());
        let greeting = format!("{}, {name}", request.into_inner().name);
        std::future::ready(Ok(tonic::Response::new(Name { name: greeting })))
    }
}

impl Service<Request<Body>> for Greeter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = futures_util::future::BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Name, Name>::default());
            Ok(grpc.unary(Greet, request).await)
        })
    }
}

/// A channel to a server at the far end of a pipe, which `serve` runs.
pub(crate) async fn channel<F>(serve: impl FnOnce(tokio_pipe::Connections) -> F) -> Channel
where
    F: Future<Output = Result<(), tonic::transport::Error>> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = serve(tokio_pipe::one(far));
    tokio::spawn(async move { server.await.expect("an orderly end") });
    let mut near = Some(TokioIo::new(near));
    let connect = service_fn(move |_: Uri| {
        let near = near.take().ok_or_else(|| std::io::Error::other("connected once"));
        async move { near }
    });
    Endpoint::from_static("http://service.example").connect_with_connector(connect).await.unwrap()
}

/// The stream of connections that tonic's server wants, of one.
pub(crate) mod tokio_pipe {
    use futures_util::{StreamExt as _, stream};

    pub(crate) type Connections =
        stream::BoxStream<'static, Result<tokio::io::DuplexStream, std::io::Error>>;

    pub(super) fn one(far: tokio::io::DuplexStream) -> Connections {
        // It stays open, as a listener does.
        stream::iter([Ok(far)]).chain(stream::pending()).boxed()
    }
}

pub(crate) async fn greet(channel: &Channel, token: Option<&str>) -> Result<String, Status> {
    let mut client = Client::new(channel.clone());
    client.ready().await.expect("an open channel");
    let mut request = tonic::Request::new(Name { name: "hello".to_owned() });
    if let Some(token) = token {
        let value = MetadataValue::try_from(format!("Token {token}")).expect("ASCII");
        request.metadata_mut().insert("authorization", value);
    }
    let path = http::uri::PathAndQuery::from_static("/test.Greeter/Greet");
    let response = client.unary(request, path, ProstCodec::<Name, Name>::default()).await?;
    Ok(response.into_inner().name)
}

async fn check(channel: Channel, store: Scripted) {
    assert_eq!(greet(&channel, Some(TOKEN)).await.unwrap(), "hello, key");
    for (token, message) in [
        (None, "no API key was sent"),
        (Some("unknown"), "the API key is unknown"),
        (Some("two parts"), "contains blanks"),
    ] {
        let status = greet(&channel, token).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        assert!(status.message().contains(message), "{status:?}");
    }
    store.fail(true);
    let status = greet(&channel, Some("never-seen")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(greet(&channel, Some(TOKEN)).await.unwrap(), "hello, key", "cached");
}

async fn layer() -> (TokenAuthLayer, Scripted) {
    let store = Scripted::new();
    issue(&store, TOKEN).await;
    (TokenAuthLayer::new(authenticator(store.clone())), store)
}

/// I13. Seen to fail, as the next one, with trouble of the store answered by 16.
#[tokio::test]
async fn as_a_layer_of_tonic_s_server() {
    let (layer, store) = layer().await;
    let server = Server::builder().layer(layer).add_service(Greeter);
    check(channel(|connections| server.serve_with_incoming(connections)).await, store).await;
}

#[tokio::test]
async fn around_one_service_by_its_name() {
    use tonic::service::LayerExt as _;
    let (layer, store) = layer().await;
    let server = Server::builder().add_service(layer.named_layer(Greeter));
    check(channel(|connections| server.serve_with_incoming(connections)).await, store).await;
}

/// What a client of gRPC-web reads: the status among the headers, in the content type it asked for.
#[tokio::test]
async fn grpc_web_is_answered_in_its_own_content_type() {
    use tower::ServiceExt as _;
    let (layer, _) = layer().await;
    let service = layer.layer(Greeter);
    for content_type in ["application/grpc-web", "application/grpc-web-text+proto"] {
        let mut request = Request::post("/test.Greeter/Greet").body(Body::empty()).unwrap();
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], content_type);
        assert_eq!(response.headers()["grpc-status"], "16");
        assert!(http_body::Body::is_end_stream(response.body()));
    }
}
