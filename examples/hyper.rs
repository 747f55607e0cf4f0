//! The layer on bare hyper: no framework, a plain Tower service, HTTP/1.1 and HTTP/2.
//!
//! `cargo run --example hyper --features full`
//!
//! `ADDR` says where to listen (127.0.0.1:3000; port 0 takes a free one). The key lives in memory.

use std::{convert::Infallible, env, error::Error};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Layer as _, service_fn};
use tower_token_auth::{
    AuthenticatedKey, Authenticator, MemoryStore, NewKey, Owner, TokenAuthLayer,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (auth, _guard) = Authenticator::builder(MemoryStore::new()).build()?;
    let (_, token) = auth.keys().create(Owner::staff("ada"), NewKey::named("hyper")).await?;
    let service = TokenAuthLayer::new(auth).layer(service_fn(hello));

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

/// Behind the layer in required mode, every request carries a key.
async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let name = request.extensions().get().map_or("nobody", AuthenticatedKey::name);
    Ok(Response::new(Full::from(format!("hello, {name}\n"))))
}
