//! Modes, bypasses, marking, stripping, and layers within layers.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderName, Method, Request, header::AUTHORIZATION, request::Parts};
use http_body_util::Full;
use tower::{Layer as _, service_fn};
use tower_token_auth::{
    Authenticator, DigestAlgorithm, MemoryStore, TokenAuthLayer, Visitor, bypass,
};

use crate::support::{
    Scripted, TOKEN, authenticator,
    http::{Answer, get, name_of_key, passed_as, send, with_authorization, with_token},
    issue, issue_with, scripted,
};

type Body = Full<Bytes>;

const OTHER: &str = "another-token-of-the-tests";
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A store that knows [`TOKEN`] as `key` and [`OTHER`] as `other`.
async fn two_keys(algorithm: DigestAlgorithm) -> Authenticator {
    let store = MemoryStore::with_algorithm(algorithm);
    issue(&store, TOKEN).await;
    issue_with(&store, OTHER, tower_token_auth::Owner::staff("bob"), |key| key.with_name("other"))
        .await;
    authenticator(store)
}

async fn layer() -> TokenAuthLayer {
    TokenAuthLayer::new(two_keys(DigestAlgorithm::Sha256).await)
}

/// Sends a request through a layer and says how it passed and which of its headers arrived.
async fn seen(layer: &TokenAuthLayer, request: Request<Body>) -> (Answer, Option<Parts>) {
    let seen = Arc::new(Mutex::new(None));
    let inner = service_fn(|request: Request<Body>| {
        let passed = passed_as(request.extensions());
        *seen.lock().unwrap() = Some(request.into_parts().0);
        async move { Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(passed))) }
    });
    let answer = send(&layer.layer(inner), request).await;
    (answer, seen.lock().unwrap().take())
}

fn at(path: &str, mut request: Request<Body>) -> Request<Body> {
    *request.uri_mut() = path.parse().expect("a path");
    request
}

fn with_key(token: &str) -> Request<Body> {
    let mut request = get();
    request.headers_mut().insert(X_API_KEY, token.parse().unwrap());
    request
}

#[tokio::test]
async fn optional_passes_the_absent_and_refuses_the_bad() {
    let (auth, store) = scripted().await;
    let service = TokenAuthLayer::new(auth).optional().layer(service_fn(name_of_key::<Body>));
    for absent in [get(), with_authorization(""), with_authorization("Basic eDp5")] {
        assert_eq!(send(&service, absent).await.body, "anonymous");
    }
    assert_eq!(send(&service, with_authorization("a-bare-token")).await.body, "anonymous");
    assert_eq!(store.reads(), 0);
    assert_eq!(send(&service, with_token()).await.body, "key key");
    for bad in ["Token", "Token a b", "Token unknown"] {
        assert_eq!(send(&service, with_authorization(bad)).await.status, 401, "{bad}");
    }
    store.fail(true);
    let answer = send(&service, with_authorization("Token somebody-s")).await;
    assert_eq!((answer.status.as_u16(), &*answer.kind()), (503, "store_unavailable"));
}

#[tokio::test]
async fn an_optional_key_header_is_absent_only_if_it_is_not_there() {
    let layer = layer().await.header("x-api-key").unwrap().optional();
    let service = layer.layer(service_fn(name_of_key::<Body>));
    assert_eq!(send(&service, get()).await.body, "anonymous");
    assert_eq!(send(&service, with_key(TOKEN)).await.body, "key key");
    assert_eq!(send(&service, with_key("")).await.kind(), "malformed");
    assert_eq!(send(&service, with_key("unknown")).await.kind(), "unknown");
}

#[tokio::test]
async fn an_exact_path_passes_and_its_look_alikes_do_not() {
    let layer = layer().await.insecure_bypass(bypass::paths(["/health", "/"]));
    let service = layer.layer(service_fn(name_of_key::<Body>));
    for path in ["/health", "/health?deep=1", "/", "http://host/health", "http://host"] {
        assert_eq!(send(&service, at(path, get())).await.body, "bypassing", "{path}");
        assert_eq!(send(&service, at(path, with_token())).await.body, "bypassing", "{path}");
    }
    let others = [
        "/health/",
        "//health",
        "/healthz",
        "/Health",
        "/a/../health",
        "/./health",
        "/%68ealth",
        "/health%2f",
        "/health;x",
        "/x?/health",
        "/health/..",
    ];
    for path in others {
        assert_eq!(send(&service, at(path, get())).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_preflight_is_options_with_origin_and_requested_method() {
    let layer = layer().await.insecure_bypass(bypass::cors_preflight());
    let service = layer.layer(service_fn(name_of_key::<Body>));
    let parts = ["origin", "access-control-request-method"];
    for method in [Method::OPTIONS, Method::GET] {
        for headers in [&parts[..0], &parts[..1], &parts[1..], &parts[..]] {
            let mut request = get();
            *request.method_mut() = method.clone();
            for name in headers {
                request.headers_mut().insert(*name, "x".parse().unwrap());
            }
            let answer = send(&service, request).await;
            let is_preflight = method == Method::OPTIONS && headers.len() == 2;
            assert_eq!(answer.status == 200, is_preflight, "{method} {headers:?}");
        }
    }
}

#[tokio::test]
async fn any_of_several_bypasses_lets_pass_and_asks_no_store() {
    let (auth, store) = scripted().await;
    store.fail(true);
    let layer = TokenAuthLayer::new(auth)
        .insecure_bypass(bypass::paths(["/a"]))
        .insecure_bypass(|head: &Parts| head.method == Method::PATCH);
    let service = layer.layer(service_fn(name_of_key::<Body>));
    assert_eq!(send(&service, at("/a", with_token())).await.body, "bypassing");
    let mut patch = with_token();
    *patch.method_mut() = Method::PATCH;
    assert_eq!(send(&service, patch).await.body, "bypassing");
    assert_eq!(send(&service, with_token()).await.status, 503);
    assert_eq!(store.reads(), 1);
}

#[tokio::test]
async fn a_visitor_can_be_refused_by_plain_code() {
    let (_, head) = seen(&layer().await.optional(), get()).await;
    let head = head.expect("it passed");
    let visitor = head.extensions.get::<Visitor>().unwrap();
    assert!(visitor.is_anonymous() && !visitor.is_bypassing());
    let answer = Answer::read(visitor.refuse(&head).map(Full::new)).await;
    assert_eq!((answer.status.as_u16(), &*answer.kind()), (401, "missing"));
    assert_eq!(answer.header("www-authenticate"), Some("Token"));
}

/// Control: with `mark_sensitive` left out, every case fails.
#[tokio::test]
async fn the_credential_is_marked_before_anything_of_the_user_s_sees_it() {
    let looked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&looked);
    let layer = layer().await.header("x-api-key").unwrap().insecure_bypass(move |head: &Parts| {
        log.lock().unwrap().push(format!("{head:?}"));
        head.uri.path() == "/open"
    });
    let both = || {
        let mut request = with_authorization::<Body>("Basic czNjcmV0");
        request.headers_mut().append(AUTHORIZATION, "Bearer s3cret-too".parse().unwrap());
        request.headers_mut().append(X_API_KEY, TOKEN.parse().unwrap());
        request
    };
    let (answer, admitted) = seen(&layer, both()).await;
    assert_eq!(answer.body, "key key");
    let (answer, bypassed) = seen(&layer, at("/open", both())).await;
    assert_eq!(answer.body, "bypassing");
    let (answer, anonymous) = seen(&layer.clone().optional(), {
        let mut request = both();
        request.headers_mut().remove(X_API_KEY);
        request
    })
    .await;
    assert_eq!(answer.body, "anonymous");
    assert_eq!(send(&layer.layer(service_fn(name_of_key)), with_token::<Body>()).await.status, 200);
    for head in [admitted, bypassed, anonymous] {
        let shown = format!("{:?}", head.expect("it passed"));
        assert!(shown.contains("Sensitive"), "{shown}");
        looked.lock().unwrap().push(shown);
    }
    for shown in looked.lock().unwrap().iter() {
        for secret in ["s3cret", "czNjcmV0"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    assert_eq!(looked.lock().unwrap().len(), 7);
}

#[tokio::test]
async fn stripping_takes_the_admitted_credential_and_nothing_else() {
    let layer = layer().await.header("x-api-key").unwrap().strip_credential();
    let headers = async |layer: &TokenAuthLayer, request| {
        let (answer, head) = seen(layer, request).await;
        let headers = head.expect("it passed").headers;
        (answer.body, headers.contains_key(AUTHORIZATION), headers.contains_key(X_API_KEY))
    };
    // The second time it is a hit.
    for _ in 0..2 {
        assert_eq!(headers(&layer, with_token()).await, ("key key".into(), false, false));
        assert_eq!(headers(&layer, with_key(TOKEN)).await, ("key key".into(), false, false));
    }
    let mut foreign = with_key(TOKEN);
    foreign.headers_mut().insert(AUTHORIZATION, "Basic eDp5".parse().unwrap());
    assert_eq!(headers(&layer, foreign).await, ("key key".into(), true, false));
    let open = layer.clone().insecure_bypass(|_: &Parts| true);
    assert_eq!(headers(&open, with_token()).await, ("bypassing".into(), true, false));
    let optional = layer.optional();
    let foreign = with_authorization("Basic eDp5");
    assert_eq!(headers(&optional, foreign).await, ("anonymous".into(), true, false));
    let unread = TokenAuthLayer::new(two_keys(DigestAlgorithm::Sha256).await).strip_credential();
    let mut request = with_token();
    request.headers_mut().insert(X_API_KEY, "not ours".parse().unwrap());
    assert_eq!(headers(&unread, request).await, ("key key".into(), false, true));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Required,
    Optional,
    Bypass,
    Authoritative,
}

const MODES: [Mode; 4] = [Mode::Required, Mode::Optional, Mode::Bypass, Mode::Authoritative];

fn in_mode(layer: TokenAuthLayer, mode: Mode) -> TokenAuthLayer {
    match mode {
        Mode::Required => layer,
        Mode::Optional => layer.optional(),
        Mode::Bypass => layer.insecure_bypass(|_: &Parts| true),
        Mode::Authoritative => layer.authoritative(),
    }
}

/// How one layer alone lets a request pass: the key's name, `anonymous` or `bypassing`; or not.
fn alone(mode: Mode, presents: Presents) -> Result<&'static str, u16> {
    match (mode, presents) {
        (Mode::Bypass, _) => Ok("bypassing"),
        (_, Presents::Good) => Ok("key key"),
        (_, Presents::Bad) => Err(401),
        (Mode::Optional, Presents::Nothing) => Ok("anonymous"),
        (Mode::Required | Mode::Authoritative, Presents::Nothing) => Err(401),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presents {
    Good,
    Bad,
    Nothing,
}

/// The innermost layer's judgement holds, whatever one further out found, and whether that one
/// stripped the credential it admitted or left it: what an outer layer left behind is neither
/// believed nor missed. Both layers share a store, or each has its own.
#[tokio::test]
async fn every_pair_of_nested_modes() {
    for shares in [true, false] {
        let outer_auth = two_keys(DigestAlgorithm::Sha256).await;
        let inner_auth =
            if shares { outer_auth.clone() } else { two_keys(DigestAlgorithm::Sha256).await };
        for outer_mode in MODES {
            for inner_mode in MODES {
                for (outer_strips, inner_strips) in
                    [(false, false), (false, true), (true, false), (true, true)]
                {
                    for presents in [Presents::Good, Presents::Bad, Presents::Nothing] {
                        let strip = |layer: TokenAuthLayer, strips| {
                            if strips { layer.strip_credential() } else { layer }
                        };
                        let outer = TokenAuthLayer::new(outer_auth.clone());
                        let outer = strip(in_mode(outer, outer_mode), outer_strips);
                        let inner = TokenAuthLayer::new(inner_auth.clone());
                        let inner = strip(in_mode(inner, inner_mode), inner_strips);
                        let service = service_fn(name_of_key::<Body>);
                        let request = match presents {
                            Presents::Good => with_token(),
                            Presents::Bad => with_authorization("Token unknown"),
                            Presents::Nothing => get(),
                        };
                        let answer = send(&outer.layer(inner.layer(service)), request).await;
                        let expected =
                            alone(outer_mode, presents).and_then(|_| alone(inner_mode, presents));
                        let found = match answer.status.as_u16() {
                            200 => Ok(answer.body.as_str()),
                            status => Err(status),
                        };
                        assert_eq!(
                            found, expected,
                            "{presents:?} {outer_mode:?} {outer_strips} {inner_mode:?} {inner_strips}"
                        );
                    }
                }
            }
        }
    }
}

/// Between the two layers, something puts a credential into the request, as a proxy may.
async fn with_something_between(
    outer: TokenAuthLayer,
    between: impl Fn(&mut Request<Body>) + Clone + Send + 'static,
    inner: TokenAuthLayer,
    request: Request<Body>,
) -> Answer {
    let inner = inner.layer(service_fn(name_of_key::<Body>));
    let between = tower::util::MapRequest::new(inner, move |mut request| {
        between(&mut request);
        request
    });
    send(&outer.layer(between), request).await
}

/// I12. Seen to fail without the comparison of both in `Settings::credential`.
#[tokio::test]
async fn what_was_stripped_counts_beside_what_was_put_in() {
    let auth = two_keys(DigestAlgorithm::Sha256).await;
    let plain = || TokenAuthLayer::new(auth.clone());
    let strips = || plain().strip_credential();
    let put = |name: HeaderName, value: String| {
        move |request: &mut Request<Body>| {
            request.headers_mut().insert(name.clone(), value.parse().unwrap());
        }
    };
    let same = put(AUTHORIZATION, format!("Token {TOKEN}"));
    let other = put(AUTHORIZATION, format!("Token {OTHER}"));
    let foreign = put(AUTHORIZATION, "Basic eDp5".to_owned());
    let key_header = put(X_API_KEY, OTHER.to_owned());

    let answer = with_something_between(strips(), same, plain(), with_token()).await;
    assert_eq!(answer.body, "key key", "the same once more is one credential");
    let answer = with_something_between(strips(), other.clone(), plain(), with_token()).await;
    assert_eq!(answer.kind(), "several");
    let answer = with_something_between(plain(), other, plain(), with_token()).await;
    assert_eq!(answer.body, "key other", "a layer reads the credential that is there");
    let answer = with_something_between(strips(), foreign, plain(), with_token()).await;
    assert_eq!(
        answer.kind(),
        "wrong_scheme",
        "the header is there, so the stripped one is not used"
    );

    let both = || plain().header("x-api-key").unwrap();
    let answer = with_something_between(strips(), key_header.clone(), both(), with_token()).await;
    assert_eq!(answer.kind(), "several", "one stripped, another in a second source");
    let repeated = put(X_API_KEY, TOKEN.to_owned());
    let answer = with_something_between(strips(), repeated, both(), with_token()).await;
    assert_eq!(answer.kind(), "several", "the same token, but in two places");
    let alone = plain().only_header("x-api-key").unwrap();
    let answer = with_something_between(strips(), key_header, alone, with_token()).await;
    assert_eq!(answer.body, "key other", "a source that is not read does not count");
}

#[tokio::test]
async fn what_was_stripped_is_used_for_the_same_source_and_algorithm_only() {
    let auth = two_keys(DigestAlgorithm::Sha256).await;
    let none = |_: &mut Request<Body>| ();
    let strips = || TokenAuthLayer::new(auth.clone()).strip_credential();
    let plain = || TokenAuthLayer::new(auth.clone());

    let answer = with_something_between(strips(), none, plain(), with_token()).await;
    assert_eq!(answer.body, "key key");
    let bearer = plain().schemes(["Bearer"]).unwrap();
    let answer = with_something_between(strips(), none, bearer, with_token()).await;
    assert_eq!(answer.kind(), "missing", "another scheme");
    let lower = plain().schemes(["token"]).unwrap();
    let answer = with_something_between(strips(), none, lower, with_token()).await;
    assert_eq!(answer.body, "key key", "the same scheme in another case");
    let header = plain().only_header("x-api-key").unwrap();
    let answer = with_something_between(strips(), none, header, with_token()).await;
    assert_eq!(answer.kind(), "missing", "another header");
    let sha512 = TokenAuthLayer::new(two_keys(DigestAlgorithm::Sha512).await);
    let answer = with_something_between(strips(), none, sha512.clone(), with_token()).await;
    assert_eq!(answer.kind(), "missing", "another algorithm");
    let answer = with_something_between(plain(), none, sha512, with_token()).await;
    assert_eq!(answer.body, "key key", "a header that is there is read with any");

    // It survives a layer between that reads something else and strips that.
    let between = plain().only_header("x-api-key").unwrap().strip_credential();
    let innermost = plain().layer(service_fn(name_of_key::<Body>));
    let service = strips().layer(between.layer(innermost));
    let mut request = with_token();
    request.headers_mut().insert(X_API_KEY, OTHER.parse().unwrap());
    assert_eq!(send(&service, request).await.body, "key key");
}

/// An inner layer asks its own store: a key that only the outer one knows is refused.
#[tokio::test]
async fn a_stripped_credential_is_judged_anew() {
    let outer = TokenAuthLayer::new(two_keys(DigestAlgorithm::Sha256).await).strip_credential();
    let inner = TokenAuthLayer::new(authenticator(Scripted::new()));
    let service = outer.layer(inner.layer(service_fn(name_of_key::<Body>)));
    assert_eq!(send(&service, with_token()).await.kind(), "unknown");
}

#[tokio::test]
async fn earlier_keys_and_marks_are_removed() {
    let service = layer().await.optional().layer(service_fn(name_of_key::<Body>));
    let (_, earlier) = seen(&layer().await, with_token()).await;
    let mut request: Request<Body> = get();
    *request.extensions_mut() = earlier.unwrap().extensions;
    assert_eq!(passed_as(request.extensions()), "key key");
    assert_eq!(send(&service, request).await.body, "anonymous");
    let (_, earlier) = seen(&layer().await.optional(), get()).await;
    let mut request: Request<Body> = with_token();
    *request.extensions_mut() = earlier.unwrap().extensions;
    assert_eq!(send(&service, request).await.body, "key key");
}
