//! Real hyper connections, client and server, over a pipe in memory.

use std::{convert::Infallible, fmt};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::{body::Incoming, client::conn, server::conn as server};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tower::Service;

use super::http::Answer;

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(crate) const BOTH: [Self; 2] = [Self::Http1, Self::Http2];
}

/// The client's end of a connection.
pub(crate) enum Client {
    Http1(conn::http1::SendRequest<Full<Bytes>>),
    Http2(conn::http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// Serves `service` on one end of a pipe and connects to the other.
    pub(crate) async fn connect<S, R>(protocol: Protocol, service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        R: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (near, far) = (TokioIo::new(near), TokioIo::new(far));
        let service = TowerToHyperService::new(service);
        match protocol {
            Protocol::Http1 => {
                let server = server::http1::Builder::new().serve_connection(far, service);
                tokio::spawn(async move { server.await.expect("an orderly end") });
                let (client, connection) = conn::http1::handshake(near).await.expect("a handshake");
                tokio::spawn(async move { connection.await.expect("an orderly end") });
                Self::Http1(client)
            }
            Protocol::Http2 => {
                let executor = TokioExecutor::new();
                let server =
                    server::http2::Builder::new(executor.clone()).serve_connection(far, service);
                tokio::spawn(async move { server.await.expect("an orderly end") });
                let (client, connection) =
                    conn::http2::handshake(executor, near).await.expect("a handshake");
                tokio::spawn(async move { connection.await.expect("an orderly end") });
                Self::Http2(client)
            }
        }
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Answer {
        let path = request.uri().path().to_owned();
        match self {
            Self::Http1(client) => {
                request.headers_mut().insert("host", "service.example".parse().unwrap());
                client.ready().await.expect("an open connection");
                Answer::read(client.send_request(request).await.expect("an answer")).await
            }
            Self::Http2(client) => {
                let uri = format!("http://service.example{path}");
                *request.uri_mut() = uri.parse().expect("a URI");
                client.ready().await.expect("an open connection");
                Answer::read(client.send_request(request).await.expect("an answer")).await
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}
