//! What each thread knows by itself, from the outside: on real threads, by the real clock, through layers.

use std::{
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use counting_allocator::{allocations_of, growth_of};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use tower_token_auth::{
    ApiKey, AuthenticatedKey, Authenticator, DigestAlgorithm, Event, KeyId, Owner, RejectionKind,
    TokenAuthLayer, TokenDigest, Visitor, store::KeyRepository as _,
};

use crate::support::{Scripted, TOKEN, block_on, issue, issue_with};

#[expect(clippy::disallowed_methods, reason = "an expiry by the machine's own clock")]
fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}

/// I6 by the machine's own clock: four threads that know the key meet its expiry. Nobody who begins after
/// it is admitted, nobody who has ended by then is refused, whatever the coarse clock of a hit says.
///
/// Seen to fail with a lag of nothing (`TICK_LAG`).
#[test]
fn a_key_that_threads_know_expires_to_the_moment() {
    let store = Scripted::new();
    let expires = now() + TimeDelta::milliseconds(2_500);
    block_on(issue_with(&store, TOKEN, Owner::staff("ada"), |key| {
        key.with_expires_at(Some(expires))
    }));
    let (auth, _guard) = Authenticator::builder(store).build().unwrap();
    let (before, after) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let begun = now();
                    let decision = block_on(auth.authenticate(TOKEN));
                    let ended = now();
                    if ended <= expires {
                        assert!(decision.is_ok(), "refused {} early", expires - ended);
                        before.fetch_add(1, Ordering::Relaxed);
                    }
                    if begun > expires {
                        let refusal = decision.expect_err("admitted late");
                        assert_eq!(refusal.kind(), RejectionKind::Expired);
                        after.fetch_add(1, Ordering::Relaxed);
                    }
                    if begun > expires + TimeDelta::milliseconds(50) {
                        break;
                    }
                }
            });
        }
    });
    let (before, after) = (before.into_inner(), after.into_inner());
    println!("{before} before the expiry, {after} behind it");
    assert!(before > 1_000 && after > 0);
}

/// Rule 6 of the front: a thread that ends gives back what it had, so that threads that come and go, more
/// of them than there is room for, leave nothing behind.
///
/// Seen to fail with tables that are not dropped.
#[test]
fn five_hundred_threads_leave_nothing_behind() {
    // What other tests allocate meanwhile would count as well: a process of its own does it.
    const ALONE: &str = "TOKEN_AUTH_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "front::five_hundred_threads_leave_nothing_behind", "--nocapture"]);
        let told = alone.env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&told.stdout);
        assert!(told.status.success() && said.contains("1 passed"), "{told:?}");
        return;
    }
    let store = Scripted::new();
    let tokens: Vec<String> = (0..8).map(|number| format!("token-{number}")).collect();
    let tokens: Vec<&'static str> = tokens.into_iter().map(|token| &*token.leak()).collect();
    for token in &tokens {
        block_on(issue_with(&store, token, Owner::staff("ada"), |key| key));
    }
    let (auth, _guard) = Authenticator::builder(store).build().unwrap();
    let meet_all = || {
        for _ in 0..4 {
            tokens.iter().for_each(|token| drop(block_on(auth.authenticate(token)).unwrap()));
        }
    };
    meet_all();
    let ((), growth) = growth_of(|| {
        for _ in 0..8 {
            thread::scope(|scope| (0..512).for_each(|_| drop(scope.spawn(meet_all))));
        }
    });
    println!("4,096 threads, 512 at a time: {growth:?}");
    assert!(growth.kept < 4 << 20, "{growth:?}");
    // A table of 64 entries each, and what the threads themselves take.
    assert!(growth.peak < 32 << 20, "{growth:?}");
}

type Body = Full<Bytes>;

/// G4, as a test: once a thread knows a key, a hit allocates what putting one value into a request's
/// extensions does, and nothing else.
///
/// Seen to fail with a record that is counted anew at every hit.
#[test]
fn a_hit_allocates_what_one_extension_does() {
    #[derive(Clone)]
    struct Inserted(#[expect(dead_code, reason = "only its place matters")] Arc<u8>);

    let store = Scripted::new();
    block_on(issue(&store, TOKEN));
    let (auth, _guard) = Authenticator::builder(store).build().unwrap();
    let inner = service_fn(async |request: Request<Body>| {
        drop(request);
        Ok::<_, std::convert::Infallible>(Response::new(Body::default()))
    });
    let mut layer = TokenAuthLayer::new(auth).layer(inner);
    let mut plain = tower::util::MapRequestLayer::new({
        let inserted = Inserted(Arc::new(0));
        move |mut request: Request<Body>| {
            request.extensions_mut().insert(inserted.clone());
            request
        }
    })
    .layer(inner);
    let request = || {
        let header = format!("Token {TOKEN}");
        Request::get("/").header("authorization", header).body(Body::default()).unwrap()
    };
    for _ in 0..10 {
        block_on(layer.ready()).unwrap();
        assert_eq!(block_on(layer.call(request())).unwrap().status(), StatusCode::OK);
    }
    let (through, beside) = (request(), request());
    let (response, hit) = allocations_of(|| block_on(layer.call(through)));
    assert_eq!(response.unwrap().status(), StatusCode::OK);
    let (_, inserting) = allocations_of(|| block_on(plain.call(beside)));
    assert_eq!(hit, inserting);
}

/// Authenticators that know the same token have nothing of each other, on one thread and in one stack.
///
/// Seen to fail with a number that is the same for all, and one key for all fingerprints.
#[test]
fn nested_layers_each_know_their_own_keys() {
    let [outer, inner] = [(), ()].map(|()| {
        let store = Scripted::new();
        let key = block_on(issue(&store, TOKEN));
        let (auth, _guard) = Authenticator::builder(store).build().unwrap();
        (auth, key.id())
    });
    let innermost = service_fn(async |request: Request<Body>| {
        let key = request.extensions().get::<AuthenticatedKey>().expect("admitted");
        Ok::<_, std::convert::Infallible>(Response::new(Body::from(key.id().to_string())))
    });
    let layers = TokenAuthLayer::new(inner.0.clone()).layer(innermost);
    let layers = TokenAuthLayer::new(outer.0.clone()).layer(layers);
    let ask = || {
        let header = format!("Token {TOKEN}");
        let request = Request::get("/").header("authorization", header);
        block_on(layers.clone().oneshot(request.body(Body::default()).unwrap())).unwrap().status()
    };
    (0..5).for_each(|_| assert_eq!(ask(), StatusCode::OK));
    block_on(inner.0.keys().deactivate(inner.1)).unwrap();
    (0..3).for_each(|_| assert_eq!(ask(), StatusCode::UNAUTHORIZED));
    block_on(inner.0.keys().activate(inner.1)).unwrap();
    (0..5).for_each(|_| assert_eq!(ask(), StatusCode::OK));
    block_on(outer.0.keys().delete(outer.1)).unwrap();
    (0..3).for_each(|_| assert_eq!(ask(), StatusCode::UNAUTHORIZED));
}

/// A token that only looks like one that is known is never taken for it, wherever it is sent.
#[test]
fn what_is_nearly_a_known_token_is_not_known() {
    let store = Scripted::new();
    block_on(issue(&store, TOKEN));
    let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
    // By digest, as a store may hold any; no header can carry it.
    let digest = TokenDigest::of(DigestAlgorithm::Sha256, "open sesame");
    let key = ApiKey::new(KeyId::random(), digest, "ada".into(), now());
    block_on(store.insert(key, Owner::staff("ada"), None, &mut |_, _| true)).unwrap();
    let layer = TokenAuthLayer::new(auth.clone()).layer(service_fn(async |_: Request<Body>| {
        Ok::<_, std::convert::Infallible>(Response::new(Body::default()))
    }));
    let send = |value: &str| {
        let request = Request::get("/").header("authorization", value).body(Body::default());
        block_on(layer.clone().oneshot(request.unwrap())).unwrap().status()
    };
    for _ in 0..4 {
        assert_eq!(send(&format!("Token {TOKEN}")), StatusCode::OK);
        assert_eq!(send(&format!("token  {TOKEN}\t")), StatusCode::OK, "knox's blanks");
        for value in ["Token", "Token ", "Bearer opensesame", "Token open sesame", "opensesame"] {
            assert_eq!(send(value), StatusCode::UNAUTHORIZED, "{value}");
        }
        assert!(block_on(auth.authenticate("open sesame")).is_ok(), "by the other door");
        for near in [format!("{TOKEN} "), format!(" {TOKEN}"), format!("{TOKEN}\0"), "".into()] {
            assert!(block_on(auth.authenticate(&near)).is_err(), "{near:?}");
        }
        let upper = TOKEN.to_uppercase();
        assert_eq!(send(&format!("Token {upper}")), StatusCode::UNAUTHORIZED);
    }
}

/// Requests that go on on other threads than they began on: what is admitted on each is what that thread
/// knows, and a revocation that has returned counts on all.
#[test]
fn futures_that_move_between_threads_see_every_revocation() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(3).enable_all().build().unwrap();
    let store = Scripted::new();
    let key = block_on(issue(&store, TOKEN));
    let (auth, _guard) = Authenticator::builder(store).build().unwrap();
    for _ in 0..200 {
        let ask = |times: usize| {
            let auth = auth.clone();
            runtime.spawn(async move {
                let mut admitted = 0;
                for _ in 0..times {
                    tokio::task::yield_now().await;
                    admitted += usize::from(auth.authenticate(TOKEN).await.is_ok());
                }
                admitted
            })
        };
        let warm: Vec<_> = (0..6).map(|_| ask(8)).collect();
        runtime.block_on(async {
            for task in warm {
                assert_eq!(task.await.unwrap(), 8);
            }
            auth.keys().deactivate(key.id()).await.unwrap();
        });
        let late: Vec<_> = (0..6).map(|_| ask(8)).collect();
        runtime.block_on(async {
            for task in late {
                assert_eq!(task.await.unwrap(), 0, "admitted late");
            }
            auth.keys().activate(key.id()).await.unwrap();
        });
    }
}

/// A service that answers with what it finds in a request: the key's name, a visitor's mark, and whether
/// the credential's field is there and marked.
async fn shows(request: Request<Body>) -> Result<Response<String>, std::convert::Infallible> {
    let (extensions, headers) = (request.extensions(), request.headers());
    let key = extensions.get::<AuthenticatedKey>().map_or("no key", |key| key.name());
    let visitor = if extensions.get::<Visitor>().is_some() { ", a visitor" } else { "" };
    let field = match headers.get("authorization").map(http::HeaderValue::is_sensitive) {
        Some(true) => ", marked",
        Some(false) => ", in the clear",
        None => ", stripped",
    };
    Ok(Response::new(format!("{key}{visitor}{field}")))
}

/// A thread that knows [`TOKEN`]'s key, as it met it behind a plain layer.
struct Met {
    store: Scripted,
    auth: Authenticator,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Met {
    fn new() -> Self {
        let store = Scripted::new();
        block_on(issue(&store, TOKEN));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let listener = move |event: Event<'_>| {
            let word = format!("{event:?}");
            let end = word.find([' ', '{']).unwrap_or(word.len());
            hears.lock().unwrap().push(word[..end].to_owned());
        };
        let auth = Authenticator::builder(store.clone()).events(listener).build().unwrap().0;
        let met = Self { store, auth, heard };
        (0..5).for_each(|_| assert_eq!(ask(&met.layer()), "key, marked"));
        met.heard();
        met
    }

    fn layer(&self) -> TokenAuthLayer {
        TokenAuthLayer::new(self.auth.clone())
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

/// What the service behind a layer shows of a request with the token.
fn ask(layer: &TokenAuthLayer) -> String {
    let request = Request::get("/").header("authorization", format!("Token {TOKEN}"));
    let service = layer.layer(service_fn(shows));
    let response = block_on(service.oneshot(request.body(Body::default()).unwrap())).unwrap();
    let status = response.status().to_string();
    response.into_body().into_inner_or(|_| status)
}

/// Whatever a layer was asked to do beside admitting, it does for a key that the thread knows as for any
/// other.
///
/// Seen to fail, each at its line, without the exceptions for authoritative layers and for such as strip in
/// `Settings::known`, with the thread asked behind an authoritative layer in `Settings::credential`, and
/// with a visitor's mark left in `Settings::admit`.
#[test]
fn every_mode_holds_for_a_key_that_a_thread_knows() {
    let met = Met::new();
    let read = |layer: &TokenAuthLayer| {
        let before = met.store.reads();
        (ask(layer), met.store.reads() - before)
    };
    assert_eq!(read(&met.layer()), ("key, marked".into(), 0));
    let authoritative = met.layer().authoritative();
    (0..3).for_each(|_| assert_eq!(read(&authoritative), ("key, marked".into(), 1)));
    let with_header = met.layer().header("x-api-key").unwrap().authoritative();
    (0..3).for_each(|_| assert_eq!(read(&with_header).1, 1));
    for layer in [met.layer(), met.layer().header("x-api-key").unwrap()] {
        let strip = layer.strip_credential();
        (0..3).for_each(|_| assert_eq!(ask(&strip), "key, stripped"));
    }
    assert_eq!(ask(&met.layer().optional()), "key, marked");
    let bypass = met.layer().insecure_bypass(|_| true);
    assert_eq!(ask(&bypass), "no key, a visitor, marked");
    // What a bypass further out left behind goes.
    let inner = met.layer().layer(service_fn(shows));
    let outer = met.layer().insecure_bypass(|_| true).layer(inner);
    let request = || {
        let request = Request::get("/").header("authorization", format!("Token {TOKEN}"));
        request.body(Body::default()).unwrap()
    };
    for _ in 0..3 {
        let response = block_on(outer.clone().oneshot(request())).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().into_inner_or(|_| unreachable!("it was admitted"));
        assert_eq!(body.into_inner_or(|_| String::new()), "key, marked");
    }
}

/// Each request is told once, and its admission once, whoever knew the key; so too by the other doors.
///
/// Seen to fail without either event in `Authenticator::admit_known`.
#[test]
fn what_a_thread_admits_is_told_as_any_admission_is() {
    let met = Met::new();
    let layers =
        [met.layer(), met.layer().header("x-api-key").unwrap(), met.layer().strip_credential()];
    for layer in layers {
        ask(&layer);
        assert_eq!(met.heard(), ["Requested", "Succeeded"]);
    }
    block_on(met.auth.authenticate(TOKEN)).unwrap();
    assert_eq!(met.heard(), ["Requested", "Succeeded"]);
    assert!(block_on(met.auth.authenticate("guessed")).is_err());
    assert_eq!(met.heard(), ["Requested", "Failed"]);
}

/// A credential that a layer further out took is judged beside one that is there, known or not.
///
/// Seen to fail with layers that do not look whether any was taken.
#[test]
fn a_known_key_beside_another_that_was_taken_is_ambiguous() {
    let met = Met::new();
    let other = "another-token";
    block_on(issue(&met.store, other));
    let send = |inner: &TokenAuthLayer| {
        // The outer one takes the other token, and what stands between puts the known one in its place.
        let inner = inner.layer(service_fn(shows));
        let between = tower::util::MapRequestLayer::new(|mut request: Request<Body>| {
            let field = format!("Token {TOKEN}").parse().unwrap();
            request.headers_mut().insert("authorization", field);
            request
        });
        let outer = met.layer().strip_credential().layer(between.layer(inner));
        let request = Request::get("/").header("authorization", format!("Token {other}"));
        block_on(outer.oneshot(request.body(Body::default()).unwrap())).unwrap().status()
    };
    (0..5).for_each(|_| assert_eq!(send(&met.layer()), StatusCode::UNAUTHORIZED));
}

/// A thread whose table can't be had, as in its end, goes the shared way.
#[test]
fn a_thread_that_is_ending_still_authenticates() {
    struct AtTheEnd(Authenticator, std::sync::mpsc::Sender<bool>);

    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let answers = (0..4).map(|_| block_on(self.0.authenticate(TOKEN)).is_ok());
            self.1.send(answers.fold(true, |all, one| all & one)).unwrap();
        }
    }

    thread_local! {
        static LAST: std::cell::RefCell<Option<AtTheEnd>> = const { std::cell::RefCell::new(None) };
    }

    let store = Scripted::new();
    block_on(issue(&store, TOKEN));
    let (auth, _guard) = Authenticator::builder(store).build().unwrap();
    let (told, heard) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        LAST.set(Some(AtTheEnd(auth.clone(), told)));
        (0..4).for_each(|_| drop(block_on(auth.authenticate(TOKEN)).unwrap()));
    });
    thread.join().unwrap();
    assert_eq!(heard.recv_timeout(Duration::from_secs(10)), Ok(true));
}
