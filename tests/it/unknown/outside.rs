//! I13: what clients see while it is unknown: 503 as suspect, asked to come back, over HTTP and gRPC.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tonic::{Code, transport::Server};
use tower::{Layer as _, service_fn};
use tower_token_auth::{RejectionKind, TokenAuthLayer};

use super::operations::{OTHER, Operation, TOKEN, World, key_id};
use crate::{
    grpc::{Greeter, channel, greet},
    support::{
        Fate, Scripted,
        http::{name_of_key, with_authorization},
        wire::{Client, Protocol},
    },
};

/// One whose key is suspect: its deactivation was lost.
async fn suspect() -> World<Scripted> {
    let world = World::for_a(Operation::Deactivate, Scripted::new()).await;
    assert_eq!(world.refusal(TOKEN).await, None);
    world.store.changes(Fate::LostBehind);
    world.auth.keys().deactivate(key_id(1)).await.unwrap_err();
    world.store.changes(Fate::Down);
    world
}

async fn settled(world: &World<Scripted>) {
    world.store.changes(Fate::Made);
    world.is_cleared().await;
}

fn with(token: &str) -> Request<Full<Bytes>> {
    with_authorization(&format!("Token {token}"))
}

/// Seen to fail without the looks at suspects in `Cache::lookup` and `Cache::fetch`: 401 for 503.
#[tokio::test(start_paused = true)]
async fn over_http() {
    for protocol in Protocol::BOTH {
        let world = suspect().await;
        let layer = || TokenAuthLayer::new(world.auth.clone());
        for layer in [layer(), layer().optional(), layer().authoritative()] {
            let mut client = Client::connect(protocol, layer.layer(service_fn(name_of_key))).await;
            let answer = client.send(with(TOKEN)).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer.kind(), "suspect");
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("www-authenticate"), None);
            let answer = client.send(with(OTHER)).await;
            assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "key key"));
        }
        settled(&world).await;
        let service = layer().layer(service_fn(name_of_key));
        let answer = Client::connect(protocol, service).await.send(with(TOKEN)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.kind(), "key_inactive");
    }
}

/// Seen to fail as the one before: 16 for 14.
#[tokio::test]
async fn over_grpc() {
    let world = suspect().await;
    let layer = TokenAuthLayer::new(world.auth.clone());
    let server = Server::builder().layer(layer).add_service(Greeter);
    let channel = channel(|connections| server.serve_with_incoming(connections)).await;
    let status = greet(&channel, Some(TOKEN)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("is being settled"), "{status:?}");
    assert_eq!(greet(&channel, Some(OTHER)).await.unwrap(), "hello, key");
    settled(&world).await;
    let status = greet(&channel, Some(TOKEN)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
}

/// A key that was admitted before, on a websocket for one.
///
/// Seen to fail as the ones before: inactive, before that was certain.
#[tokio::test(start_paused = true)]
async fn for_a_key_that_was_admitted_before() {
    let world = World::for_a(Operation::Deactivate, Scripted::new()).await;
    let admitted = world.auth.authenticate(TOKEN).await.unwrap();
    world.store.changes(Fate::LostBehind);
    world.auth.keys().deactivate(key_id(1)).await.unwrap_err();
    world.store.changes(Fate::Down);
    let refusal = world.auth.recheck(&admitted).await.unwrap_err();
    assert_eq!(refusal.kind(), RejectionKind::Suspect);
    settled(&world).await;
    let refusal = world.auth.recheck(&admitted).await.unwrap_err();
    assert_eq!(refusal.kind(), RejectionKind::KeyInactive);
}
