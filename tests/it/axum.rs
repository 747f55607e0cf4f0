//! The layer in axum: around routers, routes and nests, its extractors, and CORS outside of it.

use axum::{Router, body::Body, routing::get};
use http::{HeaderValue, Method, Request, StatusCode};
use tower::ServiceBuilder;
use tower_http::cors::CorsLayer;
use tower_token_auth::{
    AuthenticatedKey, Owner, ServiceBuilderExt as _, TokenAuthLayer, bypass, testing::acting_as,
};

use crate::support::{
    TOKEN,
    http::{Answer, passed_as, send, with_authorization, with_token},
    scripted,
};

async fn hello(key: AuthenticatedKey) -> String {
    format!("hello, {}", key.name())
}

async fn perhaps(key: Option<AuthenticatedKey>) -> String {
    key.map_or_else(|| "hello, visitor".to_owned(), |key| format!("hello, {}", key.name()))
}

fn routes() -> Router {
    Router::new().route("/", get(hello)).route("/perhaps", get(perhaps))
}

fn at(mut request: Request<Body>, path: &'static str) -> Request<Body> {
    *request.uri_mut() = path.parse().expect("a path");
    request
}

fn bare(path: &'static str) -> Request<Body> {
    at(Request::new(Body::empty()), path)
}

fn keyed() -> Request<Body> {
    with_token()
}

async fn required() -> TokenAuthLayer {
    TokenAuthLayer::new(scripted().await.0)
}

#[tokio::test]
async fn a_router_layer_guards_unknown_paths_too() {
    let app = routes().layer(required().await);
    assert_eq!(send(&app, keyed()).await.body, "hello, key");
    assert_eq!(send(&app, bare("/")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&app, bare("/nowhere")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&app, at(keyed(), "/nowhere")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_route_layer_leaves_unknown_paths_alone() {
    let app = routes().route_layer(required().await);
    assert_eq!(send(&app, keyed()).await.body, "hello, key");
    assert_eq!(send(&app, bare("/")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&app, bare("/nowhere")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_nested_router_and_a_single_route_can_be_guarded_alone() {
    let inner = routes().layer(required().await);
    let app = Router::new()
        .route("/open", get(async || "open"))
        .route("/method", get(hello).layer(required().await))
        .nest("/api", inner);
    assert_eq!(send(&app, bare("/open")).await.body, "open");
    assert_eq!(send(&app, bare("/api")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&app, at(keyed(), "/api")).await.body, "hello, key");
    assert_eq!(send(&app, bare("/method")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&app, at(keyed(), "/method")).await.body, "hello, key");
}

#[tokio::test]
async fn inside_a_nest_a_bypass_sees_the_path_without_its_prefix() {
    let layer = required().await.insecure_bypass(bypass::paths(["/perhaps"]));
    let app = Router::new().nest("/api", routes().layer(layer));
    assert_eq!(send(&app, bare("/api/perhaps")).await.body, "hello, visitor");
    let layer = required().await.insecure_bypass(bypass::paths(["/api/perhaps"]));
    let app = Router::new().nest("/api", routes().layer(layer));
    assert_eq!(send(&app, bare("/api/perhaps")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_service_builder_takes_the_extension() {
    let (auth, _) = scripted().await;
    let app = routes().layer(ServiceBuilder::new().concurrency_limit(8).token_auth(auth));
    assert_eq!(send(&app, keyed()).await.body, "hello, key");
    assert_eq!(send(&app, bare("/")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_anonymous_visitor_gets_the_layer_s_own_401_from_the_extractor() {
    let layer = required()
        .await
        .scheme("Bearer")
        .unwrap()
        .responder(tower_token_auth::responder::Knox)
        .optional();
    let app = routes().layer(layer);
    assert_eq!(send(&app, bare("/perhaps")).await.body, "hello, visitor");
    assert_eq!(send(&app, at(keyed(), "/perhaps")).await.body, "hello, key");
    let answer = send(&app, bare("/")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.body, r#"{"detail":"Authentication credentials were not provided."}"#);
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Token", "Bearer"]);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn an_anonymous_visitor_with_another_scheme_hears_which_to_use() {
    let app = routes().layer(required().await.optional());
    let answer = send(&app, with_authorization::<axum::body::Body>("Bearer x")).await;
    assert_eq!((answer.status, &*answer.kind()), (StatusCode::UNAUTHORIZED, "wrong_scheme"));
    assert!(answer.body.contains("Bearer"), "{answer:?}");
}

#[tokio::test]
async fn a_bypassed_visitor_gets_a_401_from_the_extractor() {
    let layer = required().await.insecure_bypass(bypass::paths(["/", "/perhaps"]));
    let app = routes().layer(layer);
    assert_eq!(send(&app, at(keyed(), "/perhaps")).await.body, "hello, visitor");
    let answer = send(&app, keyed()).await;
    assert_eq!((answer.status, &*answer.kind()), (StatusCode::UNAUTHORIZED, "missing"));
    assert!(answer.body.contains("bypasses"), "{answer:?}");
}

#[tokio::test]
async fn a_missing_layer_answers_500_and_says_what_to_add() {
    for path in ["/", "/perhaps"] {
        let answer = send(&routes(), at(keyed(), path)).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.body.contains(".layer(TokenAuthLayer::new(auth))"), "{answer:?}");
    }
    let mut grpc = bare("/");
    *grpc.method_mut() = Method::POST;
    *grpc.version_mut() = http::Version::HTTP_2;
    grpc.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let app: Router = Router::new().route("/", axum::routing::post(hello));
    assert_eq!(send(&app, grpc).await.header("grpc-status"), Some("13"));
    // The layer on the wrong side of the routes: what is added after it is not behind it.
    let app = Router::new().layer(required().await).route("/", get(hello));
    let answer = send(&app, keyed()).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.body.contains("call it after `.route(…)`"), "{answer:?}");
}

#[tokio::test]
async fn cors_outside_answers_preflights_and_dresses_every_401() {
    let cors = CorsLayer::new()
        .allow_origin(HeaderValue::from_static("https://app.example"))
        .allow_headers([http::header::AUTHORIZATION])
        .allow_methods([Method::GET]);
    let app = routes().layer(required().await).layer(cors);
    let mut preflight = bare("/");
    *preflight.method_mut() = Method::OPTIONS;
    let headers = preflight.headers_mut();
    headers.insert("origin", HeaderValue::from_static("https://app.example"));
    headers.insert("access-control-request-method", HeaderValue::from_static("GET"));
    let answer = send(&app, preflight).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization"));
    for value in [None, Some("Token unknown"), Some("Bearer x"), Some("Token")] {
        let mut request = value.map_or_else(|| bare("/"), with_authorization);
        request.headers_mut().insert("origin", HeaderValue::from_static("https://app.example"));
        let answer = send(&app, request).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://app.example"), "{value:?}");
    }
}

#[tokio::test]
async fn a_body_that_axum_made_comes_back_without_a_second_box() {
    use tower::{Layer as _, ServiceExt as _};
    let service = required().await.layer(routes());
    let response = service.clone().oneshot(keyed()).await.unwrap();
    let answer = Answer::read(response.map(Body::from)).await;
    assert_eq!(answer.body, "hello, key");
    let refused = service.oneshot(bare("/")).await.unwrap().map(Body::from);
    assert!(Answer::read(refused).await.body.contains("no API key was sent"));
}

#[tokio::test]
async fn handlers_can_be_tested_as_any_key() {
    let key = AuthenticatedKey::for_test()
        .with_name("nightly")
        .with_owner(Owner::new("grace").with_staff(false))
        .with_scopes(["read"])
        .with_data(7_u8);
    assert_eq!((key.owner().id().as_str(), key.key().owner_id().as_str()), ("grace", "grace"));
    assert_eq!(key.key().scopes().collect::<Vec<_>>(), ["read"]);
    assert_eq!(key.data::<u8>(), Some(&7));
    let app = routes().layer(acting_as(key));
    assert_eq!(send(&app, bare("/")).await.body, "hello, nightly");
}

#[tokio::test]
async fn a_handler_may_read_the_extensions_itself() {
    let handler = async |request: Request<Body>| passed_as(request.extensions());
    let app = Router::new().route("/", get(handler)).layer(required().await);
    assert_eq!(send(&app, keyed()).await.body, "key key");
    let app = Router::new().route("/", get(handler)).layer(required().await.optional());
    assert_eq!(send(&app, bare("/")).await.body, "anonymous");
    assert!(!format!("{:?}", required().await).contains(TOKEN));
}
