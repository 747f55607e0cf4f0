//! Request and response bodies of every make pass through unchanged, and none needs a bound.

use std::{
    convert::Infallible,
    marker::PhantomPinned,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{
    BodyExt as _, Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};
use hyper::body::Incoming;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_token_auth::{ResponseBody, TokenAuthLayer, responder::GrpcMode};

use crate::support::{
    TOKEN,
    http::{Answer, get, with_token},
    scripted,
    wire::{Client, Protocol},
};

/// Neither `Default`, `Send`, `Sync` nor `Unpin`.
struct HomeMade {
    words: Vec<&'static str>,
    _not_send: Rc<()>,
    _pinned: PhantomPinned,
}

impl HomeMade {
    fn new() -> Self {
        Self { words: vec!["made", "home "], _not_send: Rc::default(), _pinned: PhantomPinned }
    }
}

impl Body for HomeMade {
    type Data = Bytes;
    type Error = std::fmt::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // It is never read: what the layer hands back is this very body.
        Poll::Ready(Some(Err(std::fmt::Error)))
    }

    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(9)
    }
}

async fn layer() -> TokenAuthLayer {
    TokenAuthLayer::new(scripted().await.0)
}

/// Answers a request with its own body, admitted and refused.
async fn echoes<B, E>(body: impl Fn() -> B, expected: &str)
where
    B: Body<Data = Bytes, Error = E>,
    E: std::fmt::Debug,
{
    let echo = service_fn(async |request: Request<B>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let service = layer().await.layer(echo);
    // First through the store, then as a hit.
    for _ in 0..2 {
        let request = with_token::<()>().map(|()| body());
        let response = service.clone().oneshot(request).await.unwrap();
        let hints = (response.body().size_hint().exact(), response.body().is_end_stream());
        assert_eq!(hints, (body().size_hint().exact(), body().is_end_stream()));
        assert_eq!(Answer::read(response).await.body, expected);
    }
    let refused = service.oneshot(get::<()>().map(|()| body())).await.unwrap();
    let length = refused.body().size_hint().exact().unwrap();
    let refused = Answer::read(refused).await;
    assert_eq!((refused.status.as_u16(), refused.body.len() as u64), (401, length));
}

#[tokio::test]
async fn full_and_empty() {
    echoes(|| Full::new(Bytes::from("full")), "full").await;
    echoes(Empty::<Bytes>::new, "").await;
}

#[tokio::test]
async fn boxed_with_and_without_sync() {
    let full = || Full::new(Bytes::from("boxed"));
    echoes(|| BoxBody::new(full()), "boxed").await;
    echoes(|| UnsyncBoxBody::new(full()), "boxed").await;
}

#[tokio::test]
async fn axum_s_and_tonic_s() {
    echoes(|| axum::body::Body::from("axum"), "axum").await;
    echoes(|| tonic::body::Body::new(Full::new(Bytes::from("tonic"))), "tonic").await;
}

#[tokio::test]
async fn a_home_made_body_without_default_sync_or_unpin() {
    let service = layer().await.layer(service_fn(async |request: Request<HomeMade>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    }));
    let body = |request: Request<()>| {
        let service = service.clone();
        async move {
            let request = request.map(|()| HomeMade::new());
            service.oneshot(request).await.unwrap().into_body()
        }
    };
    let admitted: ResponseBody<HomeMade> = body(with_token()).await;
    assert_eq!(admitted.size_hint().exact(), Some(9));
    assert_eq!(admitted.into_inner_or(|_| unreachable!("admitted")).words.len(), 2);
    let refused: ResponseBody<HomeMade> = body(get()).await;
    let bytes = refused.collect().await.expect("no word of the home-made body").to_bytes();
    assert!(bytes.starts_with(b"{\"type\""));
}

#[tokio::test]
async fn incoming_from_the_wire_and_back_to_it() {
    let echo = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let service = layer().await.layer(echo);
    for protocol in Protocol::BOTH {
        let mut client = Client::connect(protocol, service.clone()).await;
        let request = with_token::<()>().map(|()| Full::new(Bytes::from("there and back")));
        assert_eq!(client.send(request).await.body, "there and back");
        let refused = client.send(get()).await;
        assert_eq!(refused.kind(), "missing");
        assert_eq!(refused.header("content-length"), Some(&*refused.body.len().to_string()));
    }
}

/// Control: with `is_end_stream` left to its default, the first assertion fails.
#[tokio::test]
async fn an_empty_refusal_ends_with_its_headers() {
    let layer = layer().await.grpc(GrpcMode::Always);
    let echo = service_fn(async |request: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let refused = layer.layer(echo).oneshot(get()).await.unwrap();
    assert!(refused.body().is_end_stream());
    assert_eq!(refused.body().size_hint().exact(), Some(0));
    assert!(refused.into_body().frame().await.is_none());
}

#[tokio::test]
async fn a_refusal_is_handed_out_once_and_then_ended() {
    let service = layer().await.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let mut body = service.clone().oneshot(Request::new(())).await.unwrap().into_body();
    assert!(!body.is_end_stream());
    assert!(body.frame().await.unwrap().unwrap().is_data());
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
    let refused = service.oneshot(Request::new(())).await.unwrap().into_body();
    assert!(!format!("{refused:?}").contains(TOKEN));
    let bytes = refused.into_inner_or(Full::new).collect().await.unwrap().to_bytes();
    assert!(bytes.starts_with(b"{\"type\""));
}
