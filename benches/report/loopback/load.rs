//! The load: hyper's client on a number of connections, each of which asks again once it is answered.

use std::{collections::HashMap, io::stdin, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, runtime::Builder, task::JoinSet};

use super::{ANSWER, CONNECTIONS};
use crate::{
    setting::{EXPIRING, request},
    timing::stopwatch,
};

type Connection = SendRequest<Empty<Bytes>>;

/// Follows orders, each a port and for how many milliseconds it is to be asked; answers with the number
/// of requests and the nanoseconds that they took.
pub(super) fn run() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let mut open: HashMap<u16, Vec<Connection>> = HashMap::new();
    for order in stdin().lines() {
        let order = order.expect("a line");
        let (port, millis) = order.split_once(' ').expect("two numbers");
        let (port, millis) = (port.parse().expect("a port"), millis.parse().expect("a number"));
        runtime.block_on(async {
            let connections = match open.remove(&port) {
                Some(connections) => connections,
                None => connect(port).await,
            };
            let begun = stopwatch();
            let (connections, requests) = ask(connections, Duration::from_millis(millis)).await;
            println!("{ANSWER}{requests} {}", begun.elapsed().as_nanos());
            open.insert(port, connections);
        });
    }
}

async fn connect(port: u16) -> Vec<Connection> {
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server is there");
        stream.set_nodelay(true).expect("an open connection");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("it is HTTP");
        tokio::spawn(connection);
        connections.push(sender);
    }
    connections
}

/// Has every connection ask for so long, and counts.
async fn ask(connections: Vec<Connection>, span: Duration) -> (Vec<Connection>, u64) {
    let begun = stopwatch();
    let mut clients = JoinSet::new();
    for mut connection in connections {
        clients.spawn(async move {
            let mut requests = 0;
            while begun.elapsed() < span {
                connection.ready().await.expect("the server keeps it open");
                let answer = connection.send_request(as_a_client_sends_it()).await;
                let answer = answer.expect("the server answers");
                assert_eq!(answer.status(), StatusCode::OK, "every request is admitted");
                answer.into_body().collect().await.expect("a whole body");
                requests += 1;
            }
            (connection, requests)
        });
    }
    let done = clients.join_all().await;
    let requests = done.iter().map(|(_, requests)| requests).sum();
    (done.into_iter().map(|(connection, _)| connection).collect(), requests)
}

fn as_a_client_sends_it() -> Request<Empty<Bytes>> {
    request(EXPIRING).map(|_| Empty::new())
}
