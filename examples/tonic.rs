//! A gRPC service and its client on tonic: refused without a key, admitted with one.
//!
//! `cargo run --example tonic --features full`
//!
//! The message and the route are written by hand where a build would use `protoc`.

use std::error::Error;

use axum::{Router, extract::Request, routing::post};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tonic::{
    Code, Response, Status,
    service::Routes,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tower_token_auth::{
    AuthenticatedKey, Authenticator, MemoryStore, NewKey, Owner, TokenAuthLayer,
};

const GREET: &str = "/demo.Greeter/Greet";

#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

/// The service: it finds the key in the request's extensions.
async fn greet(request: tonic::Request<Text>) -> Result<Response<Text>, Status> {
    let key = request.extensions().get::<AuthenticatedKey>();
    let key = key.ok_or_else(|| Status::internal("the layer is missing"))?;
    let text = format!("{} from {}", request.get_ref().text, key.name());
    Ok(Response::new(Text { text }))
}

/// The client: one call, with a key or without.
async fn call(channel: Channel, token: Option<&str>) -> Result<String, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = tonic::Request::new(Text { text: "greetings".to_owned() });
    if let Some(token) = token {
        let value = format!("Token {token}").parse();
        let value = value.map_err(|_| Status::invalid_argument("the token is no header value"))?;
        request.metadata_mut().insert("authorization", value);
    }
    let codec = ProstCodec::<Text, Text>::default();
    let answer = client.unary(request, PathAndQuery::from_static(GREET), codec).await?;
    Ok(answer.into_inner().text)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (auth, _guard) = Authenticator::builder(MemoryStore::new()).build()?;
    let (_, token) = auth.keys().create(Owner::staff("ada"), NewKey::named("tonic")).await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let handler = async |request: Request| {
        let mut grpc = tonic::server::Grpc::new(ProstCodec::<Text, Text>::default());
        grpc.unary(service_fn(greet), request).await
    };
    let routes = Routes::from(Router::new().route(GREET, post(handler)));
    let server = Server::builder().layer(TokenAuthLayer::new(auth)).add_routes(routes);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let channel = Channel::from_shared(url)?.connect().await?;
    match call(channel.clone(), None).await {
        Err(status) if status.code() == Code::Unauthenticated => println!("refused: {status}"),
        other => return Err(format!("expected a refusal, got {other:?}").into()),
    }
    println!("admitted: {}", call(channel, Some(token.expose())).await?);
    Ok(())
}
