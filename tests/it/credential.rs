//! Header values and what becomes of them: on the layer alone, over HTTP/1.1, and over HTTP/2.
//!
//! What django-rest-knox was seen to answer is in the rows marked `knox`. Vertical tab and form
//! feed can't travel in a header value: those rows are with the parser.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use tower::Layer as _;
use tower_token_auth::{
    Authenticator, ConfigError, DigestAlgorithm, MemoryStore, Owner, TokenAuthLayer,
    responder::Knox,
};

use crate::support::{
    authenticator,
    http::{Answer, get, name_of_key, send, with_authorization},
    issue_with, long_ago,
    wire::{Client, Protocol},
};

const GOOD: &str = "cbe8d7ca0c18e615ea71b6b8c1d9baceb82f07e8997999c9ce60e5d056987987";
const PREFIXED: &str = "acme_0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
const DEAD: &str = "abababababababababababababababababababababababababababababababab";
const EXPIRED: &str = "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";
const FUTURE: &str = "efefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefef";
const INACTIVE: &str = "1212121212121212121212121212121212121212121212121212121212121212";

const NOT_PROVIDED: &str = "Authentication credentials were not provided.";
const NO_CREDENTIALS: &str = "Invalid token header. No credentials provided.";
const SPACES: &str = "Invalid token header. Token string should not contain spaces.";
const CHARACTERS: &str =
    "Invalid token header. Token string should not contain invalid characters.";
const INVALID: &str = "Invalid token.";
const NO_USER: &str = "User inactive or deleted.";

/// Which sources the layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    Token,
    TokenAndBearer,
    TokenAndHeader,
    HeaderAlone,
}

/// One row: the fields of a request, and what becomes of it.
#[derive(Clone, Debug)]
struct Vector {
    reads: Reads,
    authorization: Vec<Vec<u8>>,
    key: Vec<Vec<u8>>,
    /// The admitted key's name, or the kind of the refusal.
    outcome: Result<&'static str, &'static str>,
    /// knox's words, where knox has any.
    knox: Option<&'static str>,
}

impl Vector {
    fn reading(reads: Reads) -> Self {
        Self { reads, authorization: vec![], key: vec![], outcome: Err("missing"), knox: None }
    }

    fn authorization(mut self, value: impl AsRef<[u8]>) -> Self {
        self.authorization.push(value.as_ref().to_vec());
        self
    }

    fn key(mut self, value: impl AsRef<[u8]>) -> Self {
        self.key.push(value.as_ref().to_vec());
        self
    }

    fn admits(mut self, name: &'static str) -> Self {
        self.outcome = Ok(name);
        self
    }

    fn refuses(mut self, kind: &'static str) -> Self {
        self.outcome = Err(kind);
        self
    }

    fn knox(mut self, detail: &'static str) -> Self {
        self.knox = Some(detail);
        self
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = get();
        let key = HeaderName::from_static("x-api-key");
        let authorization =
            self.authorization.iter().map(|value| (http::header::AUTHORIZATION, value));
        for (name, value) in authorization.chain(self.key.iter().map(|value| (key.clone(), value)))
        {
            let value = HeaderValue::from_bytes(value).expect("a value that can travel");
            request.headers_mut().append(name, value);
        }
        request
    }
}

/// With one `Authorization` field, on a layer that reads `Token` alone.
fn one(value: impl AsRef<[u8]>) -> Vector {
    Vector::reading(Reads::Token).authorization(value)
}

fn knox_vectors() -> Vec<Vector> {
    let good = |value: String| one(value).admits("good");
    vec![
        Vector::reading(Reads::Token).knox(NOT_PROVIDED),
        one("").knox(NOT_PROVIDED),
        one("Token").refuses("malformed").knox(NO_CREDENTIALS),
        one("token").refuses("malformed").knox(NO_CREDENTIALS),
        good(format!("TOKEN {GOOD}")),
        good(format!("Token {GOOD}")),
        good(format!("token {GOOD}")),
        good(format!("tOkEn {GOOD}")),
        good(format!("Token  {GOOD}")),
        good(format!("Token\t{GOOD}")),
        good(format!(" Token {GOOD}")),
        good(format!("Token {GOOD} ")),
        good(format!("Token {GOOD}\t")),
        good(format!("\tToken\t\t{GOOD}")),
        one(format!("Token {GOOD} x")).refuses("malformed").knox(SPACES),
        one("Token a b c").refuses("malformed").knox(SPACES),
        one(format!("Token {}", GOOD.to_uppercase())).refuses("unknown").knox(INVALID),
        one(format!("Token {}", &GOOD[..63])).refuses("unknown").knox(INVALID),
        one(format!("Bearer {GOOD}")).refuses("wrong_scheme").knox(NOT_PROVIDED),
        one("Basic dXNlcjpwYXNz").refuses("wrong_scheme").knox(NOT_PROVIDED),
        one(format!("Token {PREFIXED}")).admits("prefixed"),
        one(format!("Token {DEAD}")).refuses("owner_inactive").knox(NO_USER),
        one(format!("Token {EXPIRED}")).refuses("expired").knox(INVALID),
        one(format!("Token {FUTURE}")).admits("future"),
        // Read off knox's source rather than run: a server in front of it stops these, or it fails.
        one("Token tiny").admits("tiny"),
        one("Token tökén").admits("unicode"),
        one(b"Token t\xf6k\xe9n").refuses("not_utf8").knox(CHARACTERS),
        one(b"Token\xa0abc").refuses("wrong_scheme").knox(NOT_PROVIDED),
        one(b"Token \xa0").refuses("not_utf8").knox(CHARACTERS),
        one(b"Token \xff\xfe x").refuses("malformed").knox(SPACES),
        one("Token \u{a0}").refuses("unknown").knox(INVALID),
        one(format!("Token {INACTIVE}")).refuses("key_inactive").knox("Api key is not activated."),
    ]
}

fn scheme_vectors() -> Vec<Vector> {
    let wrong = |value: String| one(value).refuses("wrong_scheme");
    let both = || Vector::reading(Reads::TokenAndBearer);
    vec![
        one(" ").refuses("missing"),
        one("\t \t").refuses("missing"),
        wrong(GOOD.to_owned()),
        wrong(format!("Token:{GOOD}")),
        wrong(format!("Token={GOOD}")),
        wrong(format!("Token,{GOOD}")),
        wrong(format!("\"Token\" {GOOD}")),
        wrong(format!("Tokens {GOOD}")),
        wrong(format!("Toke {GOOD}")),
        wrong(format!("Authorization: Token {GOOD}")),
        wrong(format!("bearer {GOOD}")),
        wrong("Negotiate YIIZ".to_owned()),
        wrong("Digest username=\"ada\"".to_owned()),
        wrong(format!("Basic {}", "A".repeat(9000))),
        one("Token \"\"").refuses("unknown"),
        one(format!("Token \"{GOOD}\"")).refuses("unknown"),
        one(format!("Token {GOOD},")).refuses("unknown"),
        one(format!("Token token={GOOD}")).refuses("unknown"),
        one(format!("Token Token {GOOD}")).refuses("malformed"),
        one(format!("Token {GOOD}, Token {GOOD}")).refuses("malformed"),
        one("Token ").refuses("malformed"),
        one("Token \t ").refuses("malformed"),
        one(format!("Token {GOOD}\t\t ")).admits("good"),
        one(format!("Token \t {GOOD}")).admits("good"),
        both().authorization(format!("Bearer {GOOD}")).admits("good"),
        both().authorization(format!("BEARER {GOOD}")).admits("good"),
        both().authorization(format!("Token {GOOD}")).admits("good"),
        both().authorization("Bearer").refuses("malformed"),
        both().authorization("Bearer a b").refuses("malformed"),
        both().authorization("Bearer unknown").refuses("unknown"),
        both().authorization("Basic eDp5").refuses("wrong_scheme"),
        both().refuses("missing"),
    ]
}

fn length_vectors() -> Vec<Vector> {
    // The whole field counts, so a token of 8186 bytes is the longest behind "Token ".
    vec![
        one(format!("Token {}", "a".repeat(8100))).refuses("unknown").knox(INVALID),
        one(format!("Token {}", "a".repeat(8186))).refuses("unknown"),
        one(format!("Token {}", "a".repeat(8187))).refuses("too_long").knox(INVALID),
        one(format!("Token {}", "a ".repeat(5000))).refuses("too_long"),
        one(format!("token {}", "\u{e9}".repeat(4094))).refuses("too_long"),
        Vector::reading(Reads::HeaderAlone).key("a".repeat(8192)).refuses("unknown"),
        Vector::reading(Reads::HeaderAlone).key("a".repeat(8193)).refuses("too_long"),
        // Another scheme's field is none of our business, however long.
        Vector::reading(Reads::TokenAndHeader)
            .authorization(format!("Negotiate {}", "A".repeat(9000)))
            .key(GOOD)
            .admits("good"),
    ]
}

fn several_vectors() -> Vec<Vector> {
    let token = || Vector::reading(Reads::Token);
    let beside = || Vector::reading(Reads::TokenAndHeader);
    let alone = || Vector::reading(Reads::HeaderAlone);
    let good = format!("Token {GOOD}");
    vec![
        token().authorization(&good).authorization(&good).refuses("several").knox(SPACES),
        token().authorization(&good).authorization("Token x").refuses("several"),
        token().authorization("Token x").authorization(&good).refuses("several"),
        // knox reads them as one field, with commas between them.
        token().authorization(&good).authorization("Basic eDp5").refuses("several").knox(SPACES),
        token()
            .authorization("Basic eDp5")
            .authorization(&good)
            .refuses("several")
            .knox(NOT_PROVIDED),
        token().authorization(&good).authorization("").refuses("several").knox(INVALID),
        token().authorization(&good).authorization("x").refuses("several").knox(INVALID),
        token().authorization("").authorization(&good).refuses("several").knox(NOT_PROVIDED),
        token().authorization("Token").authorization(&good).refuses("several").knox(NOT_PROVIDED),
        token()
            .authorization("Token \u{e9}")
            .authorization(b"\xe9")
            .refuses("several")
            .knox(CHARACTERS),
        // Longer together than a field that is read.
        token()
            .authorization(&good)
            .authorization(format!("Token {}", "a".repeat(8187)))
            .refuses("several")
            .knox(SPACES),
        token().authorization("Basic eDp5").authorization("Bearer x").refuses("wrong_scheme"),
        token().authorization("").authorization("").refuses("missing"),
        token().authorization(&good).key("x").admits("good"),
        token().key(GOOD).refuses("missing"),
        beside().authorization(&good).admits("good"),
        beside().key(GOOD).admits("good"),
        beside().authorization(&good).key(GOOD).refuses("several"),
        beside().authorization("Token").key(GOOD).refuses("several"),
        beside().authorization(&good).key("").refuses("several"),
        beside().authorization("Basic eDp5").key(GOOD).admits("good"),
        beside().authorization("Bearer x").authorization("Basic eDp5").key(GOOD).admits("good"),
        beside().authorization("Basic eDp5").refuses("wrong_scheme"),
        beside().key(GOOD).key(GOOD).refuses("several"),
        beside().key(GOOD).key("").refuses("several"),
        beside().refuses("missing"),
        alone().key(GOOD).admits("good"),
        alone().key(format!(" {GOOD}\t")).admits("good"),
        alone().key(format!("Token {GOOD}")).refuses("malformed"),
        alone().key("a b").refuses("malformed"),
        alone().key("a\tb").refuses("malformed"),
        alone().key("").refuses("malformed"),
        alone().key("  ").refuses("malformed"),
        alone().key("tökén").admits("unicode"),
        alone().key(b"t\xf6k\xe9n").refuses("not_utf8"),
        alone().key(GOOD.to_uppercase()).refuses("unknown"),
        alone().key(GOOD).authorization(&good).admits("good"),
        alone().key(GOOD).authorization(&good).authorization(&good).admits("good"),
        alone().key(GOOD).key("other").refuses("several"),
        alone().authorization(&good).refuses("missing"),
    ]
}

fn vectors() -> Vec<Vector> {
    let all = [knox_vectors(), scheme_vectors(), length_vectors(), several_vectors()].concat();
    assert!(all.len() >= 80, "{} rows", all.len());
    all
}

/// A store as knox fills it, beside one key that is inactive as in Smarter.
async fn knox_like() -> Authenticator {
    let store = MemoryStore::with_algorithm(DigestAlgorithm::Sha512);
    let past = long_ago();
    let future = past + chrono::Duration::days(20_000);
    let admin = || Owner::staff("admin");
    for (token, name) in
        [(GOOD, "good"), (PREFIXED, "prefixed"), ("tiny", "tiny"), ("tökén", "unicode")]
    {
        issue_with(&store, token, admin(), |key| key.with_name(name)).await;
    }
    issue_with(&store, DEAD, Owner::new("gone").with_active(false), |key| key).await;
    issue_with(&store, EXPIRED, admin(), |key| key.with_expires_at(Some(past))).await;
    issue_with(&store, INACTIVE, admin(), |key| key.with_active(false)).await;
    let key = issue_with(&store, FUTURE, admin(), |key| {
        key.with_name("future").with_expires_at(Some(future))
    });
    assert!(key.await.digest().to_hex().starts_with("9e9718ef4a8d199f"), "as knox hashes it");
    authenticator(store)
}

fn layer(auth: &Authenticator, reads: Reads) -> TokenAuthLayer {
    let layer = TokenAuthLayer::new(auth.clone());
    match reads {
        Reads::Token => Ok(layer),
        Reads::TokenAndBearer => layer.scheme("Bearer"),
        Reads::TokenAndHeader => layer.header("X-Api-Key"),
        Reads::HeaderAlone => layer.only_header("x-api-key"),
    }
    .expect("sound sources")
}

#[track_caller]
fn check(vector: &Vector, answer: &Answer) {
    match vector.outcome {
        Ok(name) => assert_eq!(answer.body, format!("key {name}"), "{vector:?}"),
        Err(kind) => {
            assert_eq!(
                (answer.status, &*answer.kind()),
                (StatusCode::UNAUTHORIZED, kind),
                "{vector:?}"
            );
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let schemes: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
            let expected: &[&str] = match vector.reads {
                Reads::Token | Reads::TokenAndHeader => &["Token"],
                Reads::HeaderAlone => &["ApiKey"],
                Reads::TokenAndBearer => match kind {
                    "malformed" => &["Token", "Bearer error=\"invalid_request\""],
                    "unknown" => &["Token", "Bearer error=\"invalid_token\""],
                    _ => &["Token", "Bearer"],
                },
            };
            assert_eq!(schemes, expected, "{vector:?}");
        }
    }
}

/// I12.
///
/// Seen to fail with the first of several fields of a header taken, and without the look for a second
/// `Authorization` field.
#[tokio::test]
async fn every_vector_on_the_layer_alone() {
    let auth = knox_like().await;
    for vector in vectors() {
        let service = layer(&auth, vector.reads).layer(tower::service_fn(name_of_key));
        check(&vector, &send(&service, vector.request()).await);
        let Some(detail) = vector.knox else { continue };
        let service = layer(&auth, vector.reads).responder(Knox);
        let service = service.layer(tower::service_fn(name_of_key));
        let answer = send(&service, vector.request()).await;
        assert_eq!(answer.body, format!(r#"{{"detail":"{detail}"}}"#), "{vector:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Token"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

/// I12 and I13 over the wire. Seen to fail as the one before.
#[tokio::test]
async fn every_vector_over_http_1_and_http_2() {
    let auth = knox_like().await;
    for protocol in Protocol::BOTH {
        for vector in vectors() {
            let service = layer(&auth, vector.reads).layer(tower::service_fn(name_of_key));
            let mut client = Client::connect(protocol, service).await;
            check(&vector, &client.send(vector.request()).await);
        }
    }
}

#[tokio::test]
async fn a_refusal_names_a_well_known_scheme_and_never_a_bare_token() {
    let auth = knox_like().await;
    let service = layer(&auth, Reads::TokenAndHeader).layer(tower::service_fn(name_of_key));
    let answer = async |value: &str| send(&service, with_authorization::<Full<Bytes>>(value)).await;
    let body = answer("bearer abc").await.body;
    assert!(
        body.contains(r#"this service expects \"Token\", the request used \"Bearer\""#),
        "{body}"
    );
    for (value, secret) in [(GOOD, GOOD), ("hunter2", "hunter2"), ("hunter2 secret", "hunter2")] {
        let body = answer(value).await.body;
        assert!(body.contains("another scheme") && !body.contains(secret), "{body}");
        assert!(body.contains(r#"send \"Authorization: Token <key>\" or \"x-api-key: <key>\""#));
    }
    let body = send(&service, get::<Full<Bytes>>()).await.body;
    assert!(
        body.contains(r#"send \"Authorization: Token <key>\" or \"x-api-key: <key>\""#),
        "{body}"
    );
}

#[tokio::test]
async fn nonsense_sources_are_refused_when_they_are_named() {
    let layer = || TokenAuthLayer::new(authenticator(MemoryStore::new()));
    let message = |result: Result<TokenAuthLayer, ConfigError>| result.unwrap_err().to_string();
    assert!(message(layer().scheme("")).contains("an empty scheme"));
    for bad in ["Two words", "Token ", "Tok\u{e9}n", "a,b", "a\"b", "a\r\nx: y"] {
        let message = message(layer().scheme(bad));
        assert!(message.contains("is no scheme") && !message.contains('\n'), "{message}");
    }
    assert!(message(layer().schemes([])).contains("only_header"));
    assert!(message(layer().schemes(["Token", ""])).contains("an empty scheme"));
    assert!(message(layer().header("x api key")).contains("is no header name"));
    assert!(message(layer().header("")).contains("is no header name"));
    for taken in ["host", "Cookie", "content-type"] {
        assert!(message(layer().header(taken)).contains("a meaning of its own"), "{taken}");
    }
    let mistaken = "a t0ken-that-was-passed-by-mistake";
    for message in [message(layer().scheme(mistaken)), message(layer().header(mistaken))] {
        assert!(!message.contains("t0ken"), "{message}");
    }
    assert!(message(layer().header("Authorization")).contains("name that with `scheme`"));
    assert!(message(layer().only_header("authorization")).contains("name that with `scheme`"));
}

#[tokio::test]
async fn schemes_replace_and_are_challenged_in_order() {
    let auth = knox_like().await;
    let layer = layer(&auth, Reads::Token).schemes(["Bearer", "Key", "bearer"]).unwrap();
    let service = layer.layer(tower::service_fn(name_of_key));
    let answer = send(&service, with_authorization::<Full<Bytes>>(&format!("Token {GOOD}"))).await;
    assert_eq!(answer.kind(), "wrong_scheme");
    assert!(answer.body.contains(r#"expects \"Bearer\" or \"Key\", the request used \"Token\""#));
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Bearer", "Key"]);
    let answer = send(&service, with_authorization::<Full<Bytes>>(&format!("key {GOOD}"))).await;
    assert_eq!(answer.body, "key good");
}
