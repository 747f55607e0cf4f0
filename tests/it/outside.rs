//! Responders, events and metrics once from the outside: a real server on a socket, real HTTP, a
//! scrape.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    routing::{any, get},
};
use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::{net::TcpListener, time};
use tower_token_auth::{
    AuthenticatedKey, Authenticator, Event, Owner, Rejection, RequireScopeLayer, TokenAuthLayer,
    responder::Knox,
};

use crate::support::{Scripted, TOKEN, http::Answer, issue_with, long_ago, scrape::Scrape};

/// What a client sends, and what every responder has to say to it: the kind, the status, the code
/// of gRPC, and knox's words.
type Row = (Option<&'static str>, &'static str, u16, &'static str, &'static str);

const NOT_PROVIDED: &str = "Authentication credentials were not provided.";
const TABLE: [Row; 8] = [
    (None, "missing", 401, "16", NOT_PROVIDED),
    (Some("Bearer x"), "wrong_scheme", 401, "16", NOT_PROVIDED),
    (Some("Token"), "malformed", 401, "16", "Invalid token header. No credentials provided."),
    (Some("Token guessed"), "unknown", 401, "16", "Invalid token."),
    (Some("Token old"), "expired", 401, "16", "Invalid token."),
    (Some("Token off"), "key_inactive", 401, "16", "Api key is not activated."),
    (Some("Token ownerless"), "owner_inactive", 401, "16", "User inactive or deleted."),
    (
        Some("Token held-back"),
        "store_unavailable",
        503,
        "14",
        "API keys can't be checked at the moment; try again",
    ),
];

/// A server's address, and clients of both protocols.
struct Outside {
    address: SocketAddr,
    http1: Client<HttpConnector, Full<Bytes>>,
    http2: Client<HttpConnector, Full<Bytes>>,
}

impl Outside {
    /// Serves `app` on a free port.
    async fn of(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, app).into_future());
        let client = || Client::builder(TokioExecutor::new());
        Self {
            address,
            http1: client().build_http(),
            http2: client().http2_only(true).build_http(),
        }
    }

    async fn get(&self, path: &str, authorization: Option<&str>) -> Answer {
        let request = self.request(Method::GET, path, authorization);
        Answer::read(self.http1.request(request).await.unwrap()).await
    }

    async fn call_grpc(&self, path: &str, authorization: Option<&str>) -> Answer {
        let mut request = self.request(Method::POST, path, authorization);
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        Answer::read(self.http2.request(request).await.unwrap()).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&str>,
    ) -> Request<Full<Bytes>> {
        let uri = format!("http://{}{path}", self.address);
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.body(Full::default()).unwrap()
    }
}

async fn hello(key: AuthenticatedKey) -> String {
    format!("hello, {}", key.name())
}

/// Every row through every responder, and what the listener and the scrape say of it afterwards.
///
/// Seen to fail with `tell_refusal` left out of `Settings::judge` (the listener's and the scrape's
/// numbers differ from the answers), and with `dress` left out of `Answers::refuse`.
#[tokio::test]
async fn what_clients_listeners_and_scrapers_see_is_the_same() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let exporter = recorder.handle();
    let _local = metrics::set_default_local_recorder(&recorder);
    let told: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let listener = {
        let told = Arc::clone(&told);
        move |event: Event<'_>| {
            let name = match event {
                Event::Requested => "requested".to_owned(),
                Event::Succeeded { .. } => "succeeded".to_owned(),
                Event::Failed { reason, .. } => reason.to_string(),
                Event::Expired { .. } => "expired itself".to_owned(),
                other => panic!("nothing else happens here: {other:?}"),
            };
            *told.lock().unwrap().entry(name).or_default() += 1;
        }
    };

    let store = Scripted::new();
    let ada = || Owner::staff("ada");
    issue_with(&store, TOKEN, ada(), |key| key.with_scopes(["read"])).await;
    issue_with(&store, "old", ada(), |key| key.with_expires_at(Some(long_ago()))).await;
    issue_with(&store, "off", ada(), |key| key.with_active(false)).await;
    issue_with(&store, "ownerless", Owner::new("gone").with_active(false), |key| key).await;
    let builder = Authenticator::builder(store.clone()).events(listener);
    let (auth, _guard) = builder.build().unwrap();
    let layer = TokenAuthLayer::new(auth);
    let scope = RequireScopeLayer::all(["write"]).unwrap().answering_as(&layer);
    let own = |rejection: &Rejection, head: &Parts| {
        let mut response = Response::new(format!("{} {}", head.uri.path(), rejection.kind()));
        *response.status_mut() = rejection.status();
        response
    };
    let app = Router::new()
        .route("/problem", any(hello).layer(layer.clone()))
        .route("/knox", any(hello).layer(layer.clone().responder(Knox)))
        .route("/own", any(hello).layer(layer.clone().responder(own)))
        .route("/scoped", any(hello).layer((layer, scope)))
        .route("/metrics", get(async move || exporter.render()));
    let outside = Outside::of(app).await;

    let authorization = format!("Token {TOKEN}");
    let admitted = Some(authorization.as_str());
    for path in ["/problem", "/knox", "/own"] {
        let answer = outside.get(path, admitted).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "hello, key"));
    }
    for (authorization, kind, status, code, knox) in TABLE {
        store.fail(kind == "store_unavailable");
        let problem = outside.get("/problem", authorization).await;
        assert_eq!(problem.kind(), kind);
        let answer = outside.get("/knox", authorization).await;
        assert_eq!(answer.body, format!("{{\"detail\":\"{knox}\"}}"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let own = outside.get("/own", authorization).await;
        assert_eq!(own.body, format!("/own {kind}"));
        for answer in [&problem, &answer, &own] {
            assert_eq!(answer.status.as_u16(), status, "{answer:?}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let challenge = (status == 401).then_some("Token");
            assert_eq!(answer.header("www-authenticate"), challenge, "{answer:?}");
            assert_eq!(answer.header("retry-after").is_some(), status == 503, "{answer:?}");
        }
        let grpc = outside.call_grpc("/problem", authorization).await;
        assert_eq!((grpc.status.as_u16(), grpc.header("grpc-status")), (200, Some(code)), "{kind}");
        assert_eq!((grpc.header("content-type"), &*grpc.body), (Some("application/grpc"), ""));
    }
    let refused = outside.get("/scoped", admitted).await;
    assert_eq!((refused.status.as_u16(), &*refused.kind()), (403, "out_of_scope"));
    let refused = outside.call_grpc("/scoped", admitted).await;
    assert_eq!(refused.header("grpc-status"), Some("7"));

    // Four answers for each row, two for the scope, whose key was admitted before, and three
    // admissions.
    let mut expected: BTreeMap<String, u32> =
        TABLE.iter().map(|(_, kind, ..)| ((*kind).to_owned(), 4)).collect();
    expected.insert("out_of_scope".to_owned(), 2);
    let refusals = expected.clone();
    expected.insert("succeeded".to_owned(), 3 + 2);
    expected.insert("expired itself".to_owned(), 4);
    // No credential of these could be looked up.
    expected.insert("requested".to_owned(), 5 * 4 + 3 + 2);
    assert_eq!(*told.lock().unwrap(), expected);

    time::pause();
    time::advance(Duration::from_secs(1)).await;
    time::resume();
    let scrape = Scrape::parse(&outside.get("/metrics", None).await.body);
    assert_eq!(scrape.of("admitted_total"), 5.0);
    for (kind, count) in refusals {
        assert_eq!(scrape.of(&format!("refused_total{{kind=\"{kind}\"}}")), f64::from(count));
    }
    let refused = scrape.counted().into_iter().filter(|(series, _)| series.starts_with("refused"));
    assert_eq!(refused.count(), TABLE.len() + 1, "of no other kind");
}
