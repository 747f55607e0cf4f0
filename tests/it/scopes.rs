//! What a key's scopes let it do: over HTTP and gRPC, for keys, visitors, and where no layer ran.

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{Router, routing::get as on_get};
use bytes::Bytes;
use http::{Method, Request, Response, Version, request::Parts};
use http_body_util::Full;
use tonic::{Code, transport::Server};
use tower::{
    Layer as _, Service, ServiceBuilder, ServiceExt as _, buffer::Buffer, limit::ConcurrencyLimit,
    service_fn,
};
use tower_token_auth::{
    AuthenticatedKey, Authenticator, KeyUpdate, MemoryStore, Owner, Rejection, RejectionKind,
    RequireScope, RequireScopeLayer, ResponseBody, TokenAuthLayer, bypass,
    responder::{GrpcMode, Knox, Problem},
    testing::acting_as,
};

use crate::{
    grpc::{Greeter, channel, greet},
    support::{
        TOKEN, authenticator,
        http::{Answer, get, name_of_key, passed_as, send, with_authorization, with_token},
        issue_with,
        wire::{Client, Protocol},
    },
};

type Body = Full<Bytes>;

/// A layer over a store in which [`TOKEN`]'s key has these scopes.
async fn auth_layer(scopes: &[&str]) -> TokenAuthLayer {
    TokenAuthLayer::new(auth(scopes).await)
}

async fn auth(scopes: &[&str]) -> Authenticator {
    let store = MemoryStore::new();
    let scopes = scopes.iter().copied();
    issue_with(&store, TOKEN, Owner::staff("ada"), |key| key.with_scopes(scopes)).await;
    authenticator(store)
}

fn all(scopes: &[&str]) -> RequireScopeLayer {
    RequireScopeLayer::all(scopes.iter().copied()).expect("sound scopes")
}

fn any(scopes: &[&str]) -> RequireScopeLayer {
    RequireScopeLayer::any(scopes.iter().copied()).expect("sound scopes")
}

fn holding(scopes: &[&str]) -> AuthenticatedKey {
    AuthenticatedKey::for_test().with_scopes(scopes.iter().copied())
}

/// Sends a request through both layers to a service that says who called.
async fn through(
    auth: &TokenAuthLayer,
    scopes: &RequireScopeLayer,
    request: Request<Body>,
) -> Answer {
    send(&auth.layer(scopes.layer(service_fn(name_of_key))), request).await
}

fn as_grpc(mut request: Request<Body>) -> Request<Body> {
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    let content_type = "application/grpc+proto".parse().expect("a header value");
    request.headers_mut().insert("content-type", content_type);
    request
}

/// What `problem` says in detail.
fn detail(answer: &Answer) -> String {
    let problem: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    problem["detail"].as_str().expect("a detail").to_owned()
}

#[test]
fn a_scope_is_held_by_its_very_name() {
    let key = holding(&["read", "Write", "a:b", "*"]);
    for held in ["read", "Write", "a:b", "*"] {
        assert!(key.has_scope(held), "{held}");
    }
    for other in ["", "rea", "reads", "READ", "write", "a", "a:b:c", "read Write", " read", "any"] {
        assert!(!key.has_scope(other), "{other}");
    }
    assert!(!holding(&[]).has_scope("read"));
}

/// Controls: with `all` and `any` swapped in `judge`, a key with one of two scopes passes; with
/// scopes compared by `starts_with`, `reader` does for `read`; without the look for duplicates, one
/// scope is named twice.
#[tokio::test]
async fn all_and_any_over_what_a_key_holds() {
    type Row = (fn(&[&str]) -> RequireScopeLayer, &'static [&'static str], &'static [&'static str]);
    let rows: [(Row, Option<&str>); 16] = [
        ((all, &["read"], &["read"]), None),
        ((all, &["read"], &["write", "read"]), None),
        ((all, &["read", "write"], &["write", "read", "more"]), None),
        ((all, &["read", "read"], &["read"]), None),
        ((all, &["read"], &[]), Some(r#"the API key lacks the scope "read""#)),
        ((all, &["read"], &["reader", "Read"]), Some(r#"the API key lacks the scope "read""#)),
        ((all, &["read", "write"], &["read"]), Some(r#"the API key lacks the scope "write""#)),
        (
            (all, &["read", "write", "x"], &["x"]),
            Some(r#"the API key lacks the scopes "read" and "write""#),
        ),
        ((all, &["read", "read"], &["x"]), Some(r#"the API key lacks the scope "read""#)),
        ((any, &["read"], &["read"]), None),
        ((any, &["read", "write"], &["write"]), None),
        ((any, &["read", "write"], &["read", "write"]), None),
        ((any, &["read"], &[]), Some(r#"the API key lacks the scope "read""#)),
        ((any, &["read", "read"], &["x"]), Some(r#"the API key lacks the scope "read""#)),
        (
            (any, &["read", "write"], &["x"]),
            Some(r#"the API key lacks a scope: one of "read", "write" is needed"#),
        ),
        (
            (any, &["read", "write"], &[]),
            Some(r#"the API key lacks a scope: one of "read", "write" is needed"#),
        ),
    ];
    for ((quantity, needed, held), refusal) in rows {
        let (auth, scopes) = (auth_layer(held).await, quantity(needed));
        // First through the store, then as a hit.
        for _ in 0..2 {
            let answer = through(&auth, &scopes, with_token()).await;
            let Some(refusal) = refusal else {
                assert_eq!((answer.status.as_u16(), &*answer.body), (200, "key key"), "{needed:?}");
                assert_eq!(answer.rejection, None);
                continue;
            };
            assert_eq!(answer.status, 403, "{needed:?} of {held:?}");
            assert_eq!(answer.kind(), "out_of_scope");
            assert_eq!(detail(&answer), refusal);
            let rejection = answer.rejection.as_ref().expect("in the extensions");
            assert_eq!(rejection.kind(), RejectionKind::OutOfScope);
            assert_eq!(rejection.detail(), refusal);
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("www-authenticate"), None, "`Token` has no words for it");
            let answer = through(&auth, &scopes, as_grpc(with_token())).await;
            assert_eq!((answer.status.as_u16(), &*answer.body), (200, ""));
            assert_eq!(answer.header("grpc-status"), Some("7"));
            assert_eq!(answer.header("grpc-message"), Some(refusal));
            assert_eq!(answer.header("content-type"), Some("application/grpc+proto"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.rejection.map(|it| it.kind()), Some(RejectionKind::OutOfScope));
        }
    }
}

/// How the layers are set up, and what four requests are answered then: out of scope, anonymous,
/// bypassing, and out of scope as gRPC.
///
/// Controls: with `answering_as` keeping the layer's own answers, the second row fails; with a
/// visitor refused by these instead of its own layer, the first.
#[tokio::test]
async fn refusals_look_like_the_outer_layer_s() {
    type SetUp = fn(TokenAuthLayer) -> TokenAuthLayer;
    const MISSING: &str = "no API key was sent";
    const BYPASSING: &str = "bypasses the check";
    const NO_PERMISSION: &str = "You do not have permission to perform this action.";
    const NOT_PROVIDED: &str = "Authentication credentials were not provided.";
    fn own(rejection: &Rejection, head: &Parts) -> Response<String> {
        let mut response = Response::new(format!("{} {}", head.method, rejection.kind()));
        *response.status_mut() = rejection.status();
        response.headers_mut().insert("content-type", "text/x-own".parse().unwrap());
        response
    }
    let problem = "application/problem+json";
    let rows: [(SetUp, &str, [&str; 4]); 6] = [
        (|layer| layer, problem, [r#"lacks the scope \"w\""#, MISSING, BYPASSING, "7"]),
        (
            |layer| layer.responder(Problem),
            problem,
            [r#"lacks the scope \"w\""#, MISSING, BYPASSING, ""],
        ),
        (
            |layer| layer.responder(Knox),
            "application/json",
            [NO_PERMISSION, NOT_PROVIDED, NOT_PROVIDED, ""],
        ),
        (
            |layer| layer.responder(own),
            "text/x-own",
            ["GET out_of_scope", "GET missing", "GET missing", ""],
        ),
        (
            |layer| layer.responder(own).grpc(GrpcMode::Auto),
            "text/x-own",
            ["GET out_of_scope", "GET missing", "GET missing", "7"],
        ),
        // What a scope needs is no secret about the key.
        (
            TokenAuthLayer::uniform_rejections,
            problem,
            [r#"lacks the scope \"w\""#, MISSING, BYPASSING, "7"],
        ),
    ];
    for (set_up, content_type, [out_of_scope, anonymous, bypassing, grpc]) in rows {
        let auth = set_up(auth_layer(&["r"]).await)
            .optional()
            .insecure_bypass(|head| head.uri.path() == "/open");
        let scopes = all(&["r", "w"]).answering_as(&auth);
        let mut open = with_token();
        *open.uri_mut() = "/open".parse().unwrap();
        for (request, status, kind, body) in [
            (with_token(), 403, RejectionKind::OutOfScope, out_of_scope),
            (get(), 401, RejectionKind::Missing, anonymous),
            (open, 401, RejectionKind::Missing, bypassing),
        ] {
            let answer = through(&auth, &scopes, request).await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert_eq!(answer.header("content-type"), Some(content_type));
            assert!(answer.body.contains(body), "{body}: {answer:?}");
            assert_eq!(answer.rejection.as_ref().map(Rejection::kind), Some(kind));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let challenge = (status == 401).then_some("Token");
            assert_eq!(answer.header("www-authenticate"), challenge);
        }
        for (request, code) in [(with_token(), "7"), (get(), "16")] {
            let answer = through(&auth, &scopes, as_grpc(request)).await;
            let code = (!grpc.is_empty()).then_some(code);
            assert_eq!(answer.header("grpc-status"), code, "{answer:?}");
        }
    }
}

/// A visitor is refused by the layer that let it pass, whatever the scopes' layer was told.
#[tokio::test]
async fn an_anonymous_visitor_hears_its_own_layer_s_401() {
    let auth = auth_layer(&[]).await.scheme("Bearer").unwrap().optional();
    let scopes = any(&["r", "w"]).responder(Knox);
    let answer = through(&auth, &scopes, get()).await;
    assert_eq!((answer.status.as_u16(), &*answer.kind()), (401, "missing"));
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Token", "Bearer"]);
    let answer = through(&auth, &scopes, with_authorization("Basic eDp5")).await;
    assert_eq!((answer.status.as_u16(), &*answer.kind()), (401, "wrong_scheme"));
    assert_eq!(
        through(&auth, &scopes, with_token()).await.header("content-type"),
        Some("application/json")
    );
}

/// Controls: with the missing layer answered as a missing key, the status is 401; with 500 for gRPC
/// as well, there is no `grpc-status`.
#[tokio::test]
async fn where_no_layer_ran_the_answer_is_500_and_what_to_add() {
    for scopes in [all(&["r"]), any(&["r", "w"]), all(&["r"]).responder(Knox)] {
        let service = scopes.layer(service_fn(name_of_key::<Body>));
        let answer = send(&service, with_token()).await;
        assert_eq!(answer.status, 500);
        assert!(answer.body.contains("before this RequireScopeLayer"), "{answer:?}");
        assert!(answer.body.contains(".layer(TokenAuthLayer::new(auth))"), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("www-authenticate"), None);
        assert_eq!(answer.rejection, None, "it is no refusal");
        assert!(!format!("{answer:?}").contains(TOKEN));
    }
    let service = all(&["r"]).layer(service_fn(name_of_key::<Body>));
    let answer = send(&service, as_grpc(with_token())).await;
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("13")));
    assert!(answer.header("grpc-message").unwrap().contains("before this RequireScopeLayer"));
    // The layers the wrong way round.
    let auth = auth_layer(&["r"]).await;
    let service = all(&["r"]).layer(auth.layer(service_fn(name_of_key::<Body>)));
    assert_eq!(send(&service, with_token()).await.status, 500);
}

/// Controls: with the `scope` parameter given for `any` too, without the check of its characters, or
/// with a challenge for any scheme, a row fails each.
#[tokio::test]
async fn bearer_clients_are_told_which_scope_is_needed() {
    const BARE: &str = r#"Bearer error="insufficient_scope""#;
    let schemes: [(&[&str], &str); 4] =
        [(&["Bearer"], "Bearer"), (&["Token", "bearer"], "bearer"), (&["Token"], ""), (&[], "")];
    let scopes: [(RequireScopeLayer, &str); 7] = [
        (all(&["w"]), r#", scope="w""#),
        // RFC 6750 has it name what is needed, not only what is missing.
        (all(&["r", "w:x/y#z!~"]), r#", scope="r w:x/y#z!~""#),
        (any(&["w"]), r#", scope="w""#),
        (any(&["w", "x"]), ""),
        (all(&["r", "w\"x"]), ""),
        (all(&["w\\x"]), ""),
        (all(&["é"]), ""),
    ];
    for (schemes, spelt) in schemes {
        for (scopes, parameter) in &scopes {
            let auth = auth_layer(&["r"]).await;
            let auth = if schemes.is_empty() {
                auth.header("x-api-key").unwrap().only_header("x-api-key")
            } else {
                auth.header("x-api-key").unwrap().schemes(schemes.iter().copied())
            };
            let auth = auth.unwrap();
            let scopes = scopes.clone().answering_as(&auth);
            let with_key = || {
                let mut request = get();
                request.headers_mut().insert("x-api-key", TOKEN.parse().unwrap());
                request
            };
            let answer = through(&auth, &scopes, with_key()).await;
            assert_eq!(answer.status, 403);
            let expected = BARE.replace("Bearer", spelt) + parameter;
            let expected = (!spelt.is_empty()).then_some(&*expected);
            assert_eq!(answer.header("www-authenticate"), expected);
            // A gRPC status has no place for a challenge.
            let answer = through(&auth, &scopes, as_grpc(with_key())).await;
            assert_eq!(answer.header("grpc-status"), Some("7"));
            assert_eq!(answer.header("www-authenticate"), None);
        }
    }
}

/// Controls: without the look for a challenge there are two; with every 403 challenged, the last line
/// fails.
#[tokio::test]
async fn a_responder_s_own_challenge_and_status_stay() {
    let auth = auth_layer(&[]).await.schemes(["Bearer"]).unwrap();
    let with_bearer = || with_authorization(&format!("Bearer {TOKEN}"));
    let own = |_: &Rejection, _: &Parts| {
        Response::builder().status(403).header("www-authenticate", "Own").body("").unwrap()
    };
    let scopes = all(&["r"]).answering_as(&auth).responder(own);
    let answer = through(&auth, &scopes, with_bearer()).await;
    assert_eq!(answer.header("www-authenticate"), Some("Own"));
    let hides = |_: &Rejection, _: &Parts| Response::builder().status(404).body("").unwrap();
    let scopes = all(&["r"]).answering_as(&auth).responder(hides);
    let answer = through(&auth, &scopes, with_bearer()).await;
    assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (404, None));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.rejection.map(|it| it.kind()), Some(RejectionKind::OutOfScope));
    // A 403 of the user's for another refusal has nothing to do with scopes.
    let forbids = |_: &Rejection, _: &Parts| Response::builder().status(403).body("").unwrap();
    let auth = auth.responder(forbids);
    let answer = through(&auth, &all(&["r"]), with_authorization("Bearer unknown")).await;
    assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (403, None));
}

#[tokio::test]
async fn what_is_set_last_holds() {
    let auth = auth_layer(&[]).await.schemes(["Bearer"]).unwrap().responder(Knox);
    let content_type = async |scopes: RequireScopeLayer, request: Request<Body>| {
        let service = scopes.layer(service_fn(name_of_key::<Body>));
        let answer = send(&acting_as(holding(&[])).layer(service), request).await;
        (answer.header("content-type").unwrap().to_owned(), answer.header("grpc-status").is_some())
    };
    let (problem, knox) = ("application/problem+json", "application/json");
    let grpc = "application/grpc";
    for (scopes, expected) in [
        (all(&["r"]), (problem, false)),
        (all(&["r"]).responder(Knox), (knox, false)),
        (all(&["r"]).answering_as(&auth), (knox, false)),
        (all(&["r"]).grpc(GrpcMode::Always), (grpc, true)),
        (all(&["r"]).grpc(GrpcMode::Always).answering_as(&auth), (knox, false)),
        (all(&["r"]).answering_as(&auth).grpc(GrpcMode::Always), (grpc, true)),
        (all(&["r"]).answering_as(&auth).responder(Problem), (problem, false)),
    ] {
        let (content_type, is_grpc) = content_type(scopes, get()).await;
        assert_eq!((&*content_type, is_grpc), expected);
    }
    let never = content_type(all(&["r"]).grpc(GrpcMode::Never), as_grpc(get())).await;
    assert_eq!(never, (problem.to_owned(), false));
}

/// Control: without `mark_sensitive` in `refuse`, the token is in the answer.
#[tokio::test]
async fn a_responder_never_sees_a_credential_that_a_log_would_show() {
    let shown = |_: &Rejection, head: &Parts| Response::new(format!("{head:?}"));
    let service = all(&["r"]).responder(shown).layer(service_fn(name_of_key::<Body>));
    let answer = send(&acting_as(holding(&[])).layer(service), with_token()).await;
    assert!(answer.body.contains("Sensitive") && !answer.body.contains(TOKEN), "{answer:?}");
}

/// Control: without the check for blanks, `read write` makes a layer.
#[test]
fn nonsense_is_refused_in_one_line_that_says_what_to_do() {
    for (scopes, expected) in [
        (vec![], "no scope: name at least one"),
        (vec![""], "an empty scope"),
        (vec!["read", ""], "an empty scope"),
        (vec!["read write"], "give each by itself"),
        (vec!["read", " write"], "give each by itself"),
        (vec!["read\t"], "give each by itself"),
        (vec!["read\u{a0}write"], "give each by itself"),
        (vec!["read\r\nx: y"], "give each by itself"),
        (vec!["read\0"], "give each by itself"),
    ] {
        let errors =
            [RequireScopeLayer::all(scopes.clone()), RequireScopeLayer::any(scopes.clone())];
        for error in errors {
            let message = error.unwrap_err().to_string();
            assert!(message.contains(expected), "{scopes:?}: {message}");
            assert!(!message.contains('\n') && !message.contains("write"), "{message}");
        }
    }
}

/// Control: with nothing outdated by the update, the cached key passes.
#[tokio::test]
async fn a_scope_taken_away_holds_at_once() {
    let auth = auth(&["read", "write"]).await;
    let layer = TokenAuthLayer::new(auth.clone());
    let scopes = all(&["write"]);
    assert_eq!(through(&layer, &scopes, with_token()).await.status, 200);
    let key = auth.authenticate(TOKEN).await.unwrap();
    auth.keys().update(key.id(), KeyUpdate::new().scopes(["read"])).await.unwrap();
    assert_eq!(through(&layer, &scopes, with_token()).await.status, 403);
    assert!(!auth.recheck(&key).await.unwrap().has_scope("write"));
    auth.keys().update(key.id(), KeyUpdate::new().scopes(["write"])).await.unwrap();
    assert_eq!(through(&layer, &scopes, with_token()).await.status, 200);
}

/// Counts its clones and calls, and refuses to be called unready, as tower's contract lets it.
#[derive(Default)]
struct Strict {
    counts: Arc<Counts>,
    is_ready: bool,
}

#[derive(Default)]
struct Counts {
    clones: AtomicUsize,
    calls: AtomicUsize,
    /// How many values the last request carried.
    carried: AtomicUsize,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        self.counts.clones.fetch_add(1, Ordering::SeqCst);
        Self { counts: Arc::clone(&self.counts), is_ready: false }
    }
}

impl Service<Request<Body>> for Strict {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without having been polled ready");
        self.counts.calls.fetch_add(1, Ordering::SeqCst);
        self.counts.carried.store(request.extensions().len(), Ordering::SeqCst);
        ready(Ok(Response::default()))
    }
}

async fn is_ready<S: Service<Request<Body>, Error: std::fmt::Debug>>(service: &mut S) -> bool {
    poll_fn(|cx| Poll::Ready(service.poll_ready(cx))).await.map(Result::unwrap).is_ready()
}

fn carrying(value: impl Clone + Send + Sync + 'static) -> Request<Body> {
    let mut request = get();
    request.extensions_mut().insert(value);
    request
}

#[tokio::test]
async fn readiness_is_the_inner_service_s() {
    let (inner, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let mut service = all(&["r"]).layer(inner);
    handle.allow(0);
    assert!(!is_ready(&mut service).await);
    handle.allow(1);
    assert!(is_ready(&mut service).await);
    handle.send_error("broken");
    let error = poll_fn(|cx| service.poll_ready(cx)).await.unwrap_err();
    assert_eq!(error.to_string(), "broken");
}

/// Controls: with a clone called in place of the readied service, `Strict` panics; with the
/// requirement put into the request's extensions, two values arrive.
#[tokio::test]
async fn an_admitted_request_goes_unchanged_to_the_very_service_that_was_polled_ready() {
    let inner = Strict::default();
    let counts = Arc::clone(&inner.counts);
    let auth = auth(&["r"]).await;
    auth.authenticate(TOKEN).await.expect("the key is there");
    let mut service = TokenAuthLayer::new(auth).layer(all(&["r"]).layer(inner));
    let response = service.ready().await.unwrap().call(with_token());
    assert_eq!(counts.calls.load(Ordering::SeqCst), 1, "called at once, unpolled");
    assert_eq!(counts.carried.load(Ordering::SeqCst), 1, "the key, and nothing else");
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(counts.clones.load(Ordering::SeqCst), 0);
}

/// Control: with the inner service called before the judgement, the count is not 0.
#[tokio::test]
async fn nothing_refused_reaches_the_inner_service() {
    let inner = Strict::default();
    let counts = Arc::clone(&inner.counts);
    let auth = auth_layer(&["other"]).await.optional().insecure_bypass(bypass::paths(["/open"]));
    let mut open = with_token();
    *open.uri_mut() = "/open".parse().unwrap();
    let service = auth.layer(any(&["r", "w"]).layer(inner.clone()));
    for (request, status) in [(with_token(), 403), (get(), 401), (open, 401)] {
        assert_eq!(send(&service, request).await.status, status);
    }
    let service = all(&["r"]).layer(inner);
    assert_eq!(send(&service, with_token()).await.status, 500);
    assert_eq!(counts.calls.load(Ordering::SeqCst), 0);
}

/// Control: with `give_up_readiness` taken out of the refusals, the other clone is never ready.
#[tokio::test]
async fn a_refused_request_holds_no_capacity() {
    let inner = ConcurrencyLimit::new(service_fn(name_of_key::<Body>), 1);
    let mut service = all(&["r"]).layer(inner);
    let mut other = service.clone();
    for request in [carrying(holding(&["x"])), get()] {
        assert!(is_ready(&mut service).await);
        assert!(!is_ready(&mut other).await, "the only permit is taken");
        let refusal = service.call(request);
        assert!(is_ready(&mut other).await, "neither the refusal nor the service holds it");
        other = service.clone();
        assert!(!refusal.await.unwrap().status().is_success());
    }
    assert!(is_ready(&mut service).await);
    assert_eq!(service.call(carrying(holding(&["r"]))).await.unwrap().status(), 200);

    // A buffer inside hands out its one place by readiness as well.
    let mut service = all(&["r"]).layer(Buffer::new(service_fn(name_of_key::<Body>), 1));
    let mut other = service.clone();
    assert!(is_ready(&mut service).await);
    let refusal = service.call(carrying(holding(&["x"])));
    assert_eq!(
        other.ready().await.unwrap().call(carrying(holding(&["r"]))).await.unwrap().status(),
        200
    );
    assert_eq!(refusal.await.unwrap().status(), 403);
}

/// What users can write down, and what futures and bodies need no bound for.
#[tokio::test]
async fn the_types_can_be_named_and_bodies_need_no_bound() {
    struct App {
        layer: RequireScopeLayer,
        service: RequireScope<Strict>,
    }
    fn holds<T: Clone + Send + Sync + 'static>(_: &T) {}
    struct Opaque;
    let app = App { service: all(&["read"]).layer(Strict::default()), layer: all(&["read"]) };
    holds(&app.layer);
    holds(&app.service);
    assert!(format!("{:?}", app.layer).contains("read"));
    type Inner = tower::util::BoxCloneService<Request<Body>, Response<Body>, Infallible>;
    let future = size_of::<<RequireScope<Inner> as Service<Request<Body>>>::Future>();
    assert!(future <= size_of::<<Inner as Service<Request<Body>>>::Future>() + 8, "{future}");

    let echo = service_fn(async |request: Request<Opaque>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let service = acting_as(holding(&["read"])).layer(app.layer.layer(echo));
    let body: ResponseBody<Opaque> =
        service.oneshot(Request::new(Opaque)).await.unwrap().into_body();
    let Opaque = body.into_inner_or(|_| panic!("admitted"));
}

fn at(path: &str, mut request: Request<axum::body::Body>) -> Request<axum::body::Body> {
    *request.uri_mut() = path.parse().expect("a path");
    request
}

#[tokio::test]
async fn in_axum_around_routers_routes_and_methods() {
    let who = || on_get(async |request: axum::extract::Request| passed_as(request.extensions()));
    let auth = auth_layer(&["read"]).await.optional();
    let read = || all(&["read"]).answering_as(&auth);
    let write = || any(&["write", "admin"]).answering_as(&auth);
    let builder = ServiceBuilder::new().layer(auth.clone()).layer(write());
    let guarded = Router::new()
        .route("/open", who())
        .merge(Router::new().route("/read", who()).route_layer(read()))
        .route("/write", who().layer(write()))
        .route("/both", who().route_layer(write()).route_layer(read()))
        .nest("/nest", Router::new().route("/", who()).layer(write()))
        .layer(auth.clone());
    let app = guarded.merge(Router::new().route("/builder", who()).route_layer(builder));
    let rows = [
        ("/open", 200, 200),
        ("/read", 200, 401),
        ("/write", 403, 401),
        ("/both", 403, 401),
        ("/nest", 403, 401),
        ("/builder", 403, 401),
        ("/nowhere", 404, 404),
    ];
    for (path, with_key, without) in rows {
        let answer = send(&app, at(path, with_token())).await;
        assert_eq!(answer.status, with_key, "{path}: {answer:?}");
        if with_key == 200 {
            assert_eq!(answer.body, "key key");
        }
        assert_eq!(send(&app, at(path, get())).await.status, without, "{path}");
    }
    let both = send(&app, at("/both", with_token())).await;
    assert!(both.body.contains("one of"), "the inner one refused: {both:?}");
    // A scope's layer that was added after the authentication is outside of it.
    let app = Router::new().route("/", who()).layer(auth_layer(&["read"]).await).layer(read());
    let answer = send(&app, at("/", with_token())).await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("after a RequireScopeLayer"), "{answer:?}");
}

/// Two wrappings come off as one does. Control: with a refusal's bytes left out of the conversion,
/// the bodies are empty.
#[tokio::test]
async fn a_body_that_axum_made_comes_back_from_both_layers() {
    let routes = Router::new().route("/", on_get(async || "hello"));
    let auth = auth_layer(&["read"]).await;
    for (scopes, request, status, body) in [
        (all(&["read"]), with_token::<axum::body::Body>(), 200, "hello"),
        (all(&["write"]), with_token(), 403, "lacks the scope"),
        (all(&["read"]), get(), 401, "no API key was sent"),
    ] {
        let service = auth.layer(scopes.layer(routes.clone()));
        let response = service.oneshot(request).await.unwrap();
        let answer = Answer::read(response.map(axum::body::Body::from)).await;
        assert_eq!(answer.status, status);
        assert!(answer.body.contains(body), "{answer:?}");
    }
}

#[tokio::test]
async fn handlers_with_scopes_can_be_tested_as_any_key() {
    let app: Router = Router::new()
        .route("/", on_get(async |key: AuthenticatedKey| key.name().to_owned()))
        .layer(all(&["read"]));
    let get = get::<axum::body::Body>;
    let answer = send(&app.clone().layer(acting_as(holding(&["read"]))), get()).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "test"));
    let answer = send(&app.layer(acting_as(holding(&["write"]))), get()).await;
    assert_eq!((answer.status.as_u16(), &*answer.kind()), (403, "out_of_scope"));
}

#[tokio::test]
async fn over_real_connections() {
    let auth = auth_layer(&["read"]).await.schemes(["Bearer"]).unwrap().optional();
    let service = |scopes: RequireScopeLayer| {
        auth.layer(scopes.answering_as(&auth).layer(service_fn(name_of_key)))
    };
    let keyed = || with_authorization(&format!("Bearer {TOKEN}"));
    for protocol in Protocol::BOTH {
        let mut client = Client::connect(protocol, service(all(&["read"]))).await;
        assert_eq!(client.send(keyed()).await.body, "key key");
        assert_eq!(client.send(get()).await.status, 401);
        let mut client = Client::connect(protocol, service(all(&["read", "write"]))).await;
        let refused = client.send(keyed()).await;
        assert_eq!((refused.status.as_u16(), &*refused.kind()), (403, "out_of_scope"));
        let challenge = r#"Bearer error="insufficient_scope", scope="read write""#;
        assert_eq!(refused.header("www-authenticate"), Some(challenge));
        assert_eq!(refused.header("content-length"), Some(&*refused.body.len().to_string()));
        // A refusal leaves the connection as it was.
        assert_eq!(client.send(keyed()).await.status, 403);
    }
}

/// A real client of tonic's, and its server with both layers.
///
/// Controls: with `OutOfScope` at 16 in the table, the code is another; with a missing layer answered
/// by 500, the client complains of the protocol instead.
#[tokio::test]
async fn over_grpc_as_layers_of_tonic_s_server() {
    for (scopes, with_key) in [
        (all(&["read"]), Ok("hello, key")),
        (any(&["read", "write"]), Ok("hello, key")),
        (all(&["read", "wríte"]), Err(r#"the API key lacks the scope "wríte""#)),
        (any(&["a", "b"]), Err(r#"the API key lacks a scope: one of "a", "b" is needed"#)),
    ] {
        let auth = auth_layer(&["read"]).await.optional();
        let server = Server::builder().layer(auth).layer(scopes).add_service(Greeter);
        let channel = channel(|connections| server.serve_with_incoming(connections)).await;
        let status = match (greet(&channel, Some(TOKEN)).await, with_key) {
            (Ok(greeting), Ok(expected)) => {
                assert_eq!(greeting, expected);
                None
            }
            (Err(status), Err(message)) => Some((status, message)),
            (answer, _) => panic!("{answer:?}"),
        };
        if let Some((status, message)) = status {
            assert_eq!(status.code(), Code::PermissionDenied);
            assert_eq!(status.message(), message);
        }
        let status = greet(&channel, None).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        let status = greet(&channel, Some("unknown")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    }
    let server = Server::builder().layer(all(&["read"])).add_service(Greeter);
    let channel = channel(|connections| server.serve_with_incoming(connections)).await;
    let status = greet(&channel, Some(TOKEN)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    assert!(status.message().contains(".layer(TokenAuthLayer::new(auth))"), "{status:?}");
    assert!(status.message().contains("`.route(…)`"), "{status:?}");
}

#[tokio::test]
async fn over_grpc_around_one_service_by_its_name() {
    use tonic::service::LayerExt as _;
    for (needed, code) in [("read", None), ("write", Some(Code::PermissionDenied))] {
        let auth = auth_layer(&["read"]).await;
        let scopes = all(&[needed]).answering_as(&auth);
        let service = auth.named_layer(scopes.named_layer(Greeter));
        let server = Server::builder().add_service(service);
        let channel = channel(|connections| server.serve_with_incoming(connections)).await;
        let answer = greet(&channel, Some(TOKEN)).await;
        assert_eq!(answer.as_ref().err().map(tonic::Status::code), code, "{answer:?}");
    }
}
