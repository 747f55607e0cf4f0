//! The usual layers in their order, around a plain Tower service.
//!
//! `cargo run --example service_builder --features full`
//!
//! A `ServiceBuilder` runs its layers from top to bottom; `Router::layer` runs the last one first.
//! `ADDR` says where to listen (127.0.0.1:3000; port 0 takes a free one). The key lives in memory.

use std::{convert::Infallible, env, error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_http::{
    cors::CorsLayer, sensitive_headers::SetSensitiveRequestHeadersLayer, timeout::TimeoutLayer,
    trace::TraceLayer,
};
use tower_token_auth::{
    AuthenticatedKey, Authenticator, MemoryStore, NewKey, Owner, ServiceBuilderExt as _,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (auth, _guard) = Authenticator::builder(MemoryStore::new()).build()?;
    let (_, token) = auth.keys().create(Owner::staff("ada"), NewKey::named("builder")).await?;

    let service = ServiceBuilder::new()
        // Outside of the trace, so that not even that one sees the token.
        .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION]))
        .layer(TraceLayer::new_for_http())
        // Outside of the authentication: preflights carry no key, and a browser can read a 401.
        .layer(
            CorsLayer::new()
                .allow_origin(tower_http::cors::Any)
                .allow_headers([header::AUTHORIZATION]),
        )
        .token_auth(auth)
        // Inside of it: only admitted requests take time and room.
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(10)))
        .concurrency_limit(64)
        .service(service_fn(hello));

    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("can't listen on {address}: {error}; set ADDR to another HOST:PORT")
    })?;
    let url = format!("http://{}/", listener.local_addr()?);
    println!("curl -H 'Authorization: Token {}' {url}", token.expose());
    println!("curl -H 'Authorization: Token no-such-key' {url}");
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                eprintln!("a connection ended early: {error}");
            }
        });
    }
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let name = request.extensions().get().map_or("nobody", AuthenticatedKey::name);
    Ok(Response::new(Full::from(format!("hello, {name}\n"))))
}
