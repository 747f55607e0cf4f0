//! What a listener hears, and what it can't change.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::{Layer as _, service_fn};
use tower_token_auth::{
    Authenticator, DigestAlgorithm, Event, Events, ImportedKey, KeyId, KeyUpdate, NewKey, Owner,
    RequireScopeLayer, Rotation, TokenAuthLayer, TokenDigest, TokenFormat,
};

use crate::support::{
    self, Fault, Scripted, TOKEN,
    http::{get, name_of_key, send, with_authorization, with_token},
    issue, issue_with, long_ago,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A listener that keeps what it hears, as words.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Events for Heard {
    fn on(&self, event: Event<'_>) {
        let text = match event {
            Event::Requested => "requested".to_owned(),
            Event::Succeeded { key, owner, .. } => format!("succeeded {key} of {owner}"),
            Event::Failed { reason, key: Some(key), .. } => format!("failed {reason} {key}"),
            Event::Failed { reason, .. } => format!("failed {reason}"),
            Event::Expired { key, .. } => format!("expired {key}"),
            Event::Created { key, owner, .. } => format!("created {key} of {owner}"),
            Event::Updated { key, owner, .. } => format!("updated {key} of {owner}"),
            Event::Activated { key, owner, .. } => format!("activated {key} of {owner}"),
            Event::Deactivated { key, owner, .. } => format!("deactivated {key} of {owner}"),
            Event::Rotated { key, successor, .. } => format!("rotated {key} to {successor}"),
            Event::Deleted { key, owner, .. } => format!("deleted {key} of {owner}"),
            _ => panic!("no test knows of {event:?}"),
        };
        self.0.lock().unwrap().push(text);
    }
}

impl Heard {
    /// What was heard since the last call.
    fn since(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn listened(store: &Scripted, listener: impl Events) -> Authenticator {
    let (auth, _guard) = Authenticator::builder(store.clone()).events(listener).build().unwrap();
    auth
}

/// An authenticator over a store that has [`TOKEN`], with its listener and the key's id.
async fn setup() -> (Authenticator, Scripted, Heard, KeyId) {
    let (store, heard) = (Scripted::new(), Heard::default());
    let id = issue(&store, TOKEN).await.id();
    (listened(&store, heard.clone()), store, heard, id)
}

/// Seen to fail with `told` left out of `Settings::judge` (the hits are silent) and of
/// `Settings::resolve` (the misses are).
#[tokio::test]
async fn each_request_through_the_layer_is_told_once() {
    let (auth, store, heard, id) = setup().await;
    let succeeded = format!("succeeded {id} of ada");
    let old =
        issue_with(&store, "old", Owner::staff("ada"), |key| key.with_expires_at(Some(long_ago())));
    let old = old.await.id();
    let off = issue_with(&store, "off", Owner::staff("ada"), |key| key.with_active(false)).await;
    let off = format!("failed key_inactive {}", off.id());
    let gone = Owner::staff("gone").with_active(false);
    let ownerless = issue_with(&store, "ownerless", gone, |key| key).await.id();
    let expired = [format!("expired {old}"), format!("failed expired {old}")];
    let expired = expired.each_ref().map(String::as_str);

    let layer = TokenAuthLayer::new(auth).header("x-api-key").unwrap();
    let service = layer.layer(service_fn(name_of_key::<Full<Bytes>>));
    let told = async |request: Request<Full<Bytes>>| {
        let status = send(&service, request).await.status;
        (status.as_u16(), heard.since())
    };
    let requested = |rest: &[&str]| {
        [&["requested"], rest].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    // Twice each: through the store, then by what the cache knows.
    for _ in 0..2 {
        assert_eq!(told(with_token()).await, (200, requested(&[&succeeded])));
        assert_eq!(told(with_authorization("Token old")).await, (401, requested(&expired)));
        assert_eq!(told(with_authorization("Token off")).await, (401, requested(&[&off])));
        let ownerless = format!("failed owner_inactive {ownerless}");
        let asked = told(with_authorization("Token ownerless")).await;
        assert_eq!(asked, (401, requested(&[&ownerless])));
        let asked = told(with_authorization("Token guessed")).await;
        assert_eq!(asked, (401, requested(&["failed unknown"])));
    }
    // What can't be looked up is refused without a request for it.
    let mut several: Request<Full<Bytes>> = with_token();
    several.headers_mut().append("x-api-key", "another".parse().unwrap());
    for (request, kind) in [
        (get(), "missing"),
        (with_authorization("Bearer x"), "wrong_scheme"),
        (with_authorization("Token"), "malformed"),
        (several, "several"),
        (with_authorization(&format!("Token {}", "x".repeat(9_000))), "too_long"),
    ] {
        assert_eq!(told(request).await, (401, vec![format!("failed {kind}")]));
    }
    store.fail(true);
    let asked = told(with_authorization("Token another")).await;
    assert_eq!(asked, (503, requested(&["failed store_unavailable"])));
}

#[tokio::test]
async fn modes_of_the_layer_are_told_by_what_they_decide() {
    let (auth, store, heard, id) = setup().await;
    let succeeded = format!("succeeded {id} of ada");
    let inner = service_fn(name_of_key::<Full<Bytes>>);
    let layer = TokenAuthLayer::new(auth.clone());
    let optional = layer.clone().optional().layer(inner);
    assert_eq!(send(&optional, get::<Full<Bytes>>()).await.body, "anonymous");
    let bypassing = layer.clone().insecure_bypass(|_| true).layer(inner);
    assert_eq!(send(&bypassing, with_token::<Full<Bytes>>()).await.body, "bypassing");
    assert_eq!(heard.since(), [""; 0], "nobody decided anything");

    let authoritative = layer.clone().authoritative().layer(inner);
    for _ in 0..2 {
        assert_eq!(send(&authoritative, with_token::<Full<Bytes>>()).await.body, "key key");
        assert_eq!(heard.since(), ["requested", &succeeded]);
    }
    assert_eq!(store.reads(), 2);
    // Nested layers decide twice.
    let nested = layer.clone().layer(layer.layer(inner));
    assert_eq!(send(&nested, with_token::<Full<Bytes>>()).await.body, "key key");
    assert_eq!(heard.since(), ["requested", &succeeded, "requested", &succeeded]);
}

/// Seen to fail without `tell_refusal` in `Requirement::refuse`.
#[tokio::test]
async fn a_refusal_for_a_scope_is_told_by_the_layer_it_answers_as() {
    let (auth, _store, heard, id) = setup().await;
    let layer = TokenAuthLayer::new(auth);
    let scopes = RequireScopeLayer::all(["write"]).unwrap().answering_as(&layer);
    let service = layer.layer(scopes.layer(service_fn(name_of_key::<Full<Bytes>>)));
    assert_eq!(send(&service, with_token()).await.status, StatusCode::FORBIDDEN);
    let told = ["requested".to_owned(), format!("succeeded {id} of ada")];
    assert_eq!(heard.since(), [&told[..], &[format!("failed out_of_scope {id}")]].concat());
}

/// The extractor's refusal is one of the layer's, which let the request pass without a word.
///
/// Seen to fail without `tell_refusal` in `Visitor::refuse`.
#[cfg(feature = "axum")]
#[tokio::test]
async fn a_visitor_who_is_refused_after_all_is_told() {
    use tower_token_auth::AuthenticatedKey;

    let (auth, _, heard, _) = setup().await;
    let app = axum::Router::new()
        .route("/", axum::routing::get(async |key: AuthenticatedKey| key.name().to_owned()))
        .layer(TokenAuthLayer::new(auth).optional());
    let answer = send(&app, get::<axum::body::Body>()).await;
    assert_eq!(
        (answer.status, heard.since()),
        (StatusCode::UNAUTHORIZED, vec!["failed missing".into()])
    );
}

/// Seen to fail with `recheck` that tells what `decide` said of the digest (it succeeds).
#[tokio::test]
async fn calls_without_tower_are_told_once() {
    let (store, heard) = (Scripted::new(), Heard::default());
    let id = issue(&store, TOKEN).await.id();
    let builder = Authenticator::builder(store.clone()).events(heard.clone());
    let builder = builder.token_format(TokenFormat::checksummed("tta").unwrap());
    let (auth, _guard) = builder.build().unwrap();
    let succeeded = format!("succeeded {id} of ada");
    let key = auth.authenticate(TOKEN).await.unwrap();
    assert_eq!(heard.since(), ["requested", &succeeded]);
    assert!(auth.authenticate_authoritative(TOKEN).await.is_ok());
    assert_eq!(heard.since(), ["requested", &succeeded]);
    assert!(auth.recheck(&key).await.is_ok());
    assert_eq!(heard.since(), ["requested", &succeeded]);
    assert!(auth.authenticate("a guess").await.is_err());
    assert_eq!(heard.since(), ["requested", "failed unknown"]);
    assert!(auth.authenticate("tta_garbage").await.is_err());
    assert_eq!(heard.since(), ["failed unknown"], "by its checksum, without a look");

    // The token is given to another key: the old one is refused, and so it is told.
    crate::support::remove(&store, id).await.unwrap();
    issue(&store, TOKEN).await;
    auth.flush();
    assert!(auth.recheck(&key).await.is_err());
    assert_eq!(heard.since(), ["requested", "failed unknown"]);
}

#[tokio::test]
async fn a_request_that_is_dropped_is_told_no_outcome() {
    let (auth, store, heard, _) = setup().await;
    store.hold();
    assert!(auth.authenticate(TOKEN).now_or_never().is_none());
    assert_eq!(heard.since(), ["requested"]);
    store.release();
}

/// Seen to fail without any one of the manager's calls of `tell`.
#[tokio::test]
async fn changes_are_told_when_they_are_certain() {
    let (store, heard) = (Scripted::new(), Heard::default());
    let auth = listened(&store, heard.clone());
    let keys = auth.keys();
    let (key, _token) = keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
    let id = key.id();
    assert_eq!(heard.since(), [format!("created {id} of ada")]);
    keys.update(id, KeyUpdate::new().description(Some("for tests"))).await.unwrap();
    assert_eq!(heard.since(), [format!("updated {id} of ada")]);
    keys.deactivate(id).await.unwrap();
    assert_eq!(heard.since(), [format!("deactivated {id} of ada")]);
    keys.toggle_active(id).await.unwrap();
    assert_eq!(heard.since(), [format!("activated {id} of ada")]);
    keys.activate(id).await.unwrap();
    assert_eq!(heard.since(), [format!("updated {id} of ada")], "it was active already");
    let (next, _) = keys.rotate(id, Rotation::at_once()).await.unwrap();
    assert_eq!(heard.since(), [format!("rotated {id} to {}", next.id())]);
    let (last, _) = keys.rotate(next.id(), Rotation::with_grace(HOUR)).await.unwrap();
    assert_eq!(heard.since(), [format!("rotated {} to {}", next.id(), last.id())]);
    keys.deactivate(last.id()).await.unwrap();
    let ended = [last.id(), next.id()].map(|id| format!("deactivated {id} of ada"));
    assert_eq!(heard.since(), ended, "with the key in its grace");
    keys.delete(last.id()).await.unwrap();
    assert_eq!(heard.since(), [format!("deleted {} of ada", last.id())]);
    let (id, id_of_next) = (keys.activate(id).await.unwrap().id(), next.id());
    assert_eq!(heard.since(), [format!("activated {id} of ada")]);
    assert_eq!(keys.revoke_all("ada").await.unwrap(), 1);
    assert_eq!(heard.since(), [format!("deactivated {id} of ada")]);
    keys.activate(id_of_next).await.unwrap();
    let hex = TokenDigest::of(DigestAlgorithm::Sha256, "imported").to_hex();
    let imported = ImportedKey::new(hex, Owner::staff("ada"));
    let imported = keys.import(imported.clone()).await.unwrap().record.id();
    let told = [format!("activated {id_of_next} of ada"), format!("created {imported} of ada")];
    assert_eq!(heard.since(), told);
    keys.activate(id).await.unwrap();
    heard.since();

    // Not before the commit, nor when the caller is gone by then.
    store.hold_changes();
    let mut change = Box::pin(keys.deactivate(id));
    assert!((&mut change).now_or_never().is_none());
    assert_eq!(heard.since(), [""; 0]);
    store.release();
    change.await.unwrap();
    assert_eq!(heard.since(), [format!("deactivated {id} of ada")]);

    // Refused by the policy, by a check, or for want of a key.
    assert!(
        keys.create(Owner::new("bob"), NewKey::default()).await.unwrap_err().is_business_rule()
    );
    let past = NewKey::default().expires_at(long_ago());
    assert!(keys.create(Owner::staff("ada"), past).await.unwrap_err().is_invalid());
    assert!(keys.deactivate(KeyId::random()).await.unwrap_err().is_not_found());
    assert!(keys.delete(KeyId::random()).await.unwrap_err().is_not_found());
    assert_eq!(heard.since(), [""; 0]);

    keys.delete(id).await.unwrap();
    assert_eq!(heard.since(), [format!("deleted {id} of ada")]);
    let key = issue(&store, TOKEN).await;
    store.lose_answers();
    assert!(keys.deactivate(key.id()).await.unwrap_err().is_outcome_unknown());
    assert_eq!(heard.since(), [""; 0], "nobody knows");
}

/// A listener that panics at everything it hears.
#[derive(Clone, Default)]
struct Panics(Arc<AtomicUsize>);

impl Events for Panics {
    fn on(&self, _: Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        // Silent, as it does not pass the panic hook.
        std::panic::resume_unwind(Box::new("a test said so"));
    }
}

/// Seen to fail without `catch_unwind` in `Inner::tell`.
#[tokio::test]
async fn a_listener_that_panics_changes_nothing() {
    let (store, panics) = (Scripted::new(), Panics::default());
    let auth = listened(&store, panics.clone());
    let keys = auth.keys();
    let (key, token) = keys.create(Owner::staff("ada"), NewKey::named("key")).await.unwrap();
    let service = TokenAuthLayer::new(auth.clone()).layer(service_fn(name_of_key::<Full<Bytes>>));
    let header = format!("Token {}", token.expose());
    for _ in 0..2 {
        let admitted: Request<Full<Bytes>> = with_authorization(&header);
        assert_eq!(send(&service, admitted).await.body, "key key");
        let guess: Request<Full<Bytes>> = with_authorization("Token guessed");
        assert_eq!(send(&service, guess).await.status, StatusCode::UNAUTHORIZED);
    }
    keys.deactivate(key.id()).await.unwrap();
    let refused: Request<Full<Bytes>> = with_authorization(&header);
    assert_eq!(send(&service, refused).await.status, StatusCode::UNAUTHORIZED);
    // Callers who share a read hang as little as those who have one of their own.
    auth.flush();
    store.break_reads(Some(Fault::Other));
    let together = (0..8).map(|_| support::ask(&auth, "another")).collect::<Vec<_>>();
    for decision in together {
        assert!(decision.await.unwrap().is_err());
    }
    assert_eq!(panics.0.load(Ordering::SeqCst), 2 + 8 + 2 + 16);
}

/// A listener that does not come back from the first admission it hears until it is told to.
struct Stuck {
    first: Mutex<Option<mpsc::Receiver<()>>>,
    is_stuck: mpsc::Sender<()>,
}

impl Events for Stuck {
    fn on(&self, event: Event<'_>) {
        if !matches!(event, Event::Succeeded { .. }) {
            return;
        }
        let first = self.first.lock().unwrap().take();
        if let Some(go_on) = first {
            self.is_stuck.send(()).unwrap();
            go_on.recv().unwrap();
        }
    }
}

/// One request is stuck in the listener, and others for the same key, on other threads, pass: as a
/// hit, through a shared read, and after a change, whose own event passes too.
///
/// Seen to fail with a lock held around the listener (the others never end).
#[test]
fn a_slow_listener_delays_its_own_request_alone() {
    let (go_on, wait) = mpsc::channel();
    let (is_stuck, stuck) = mpsc::channel();
    let listener = Stuck { first: Mutex::new(Some(wait)), is_stuck };
    let store = Scripted::new();
    let auth = listened(&store, listener);
    let key = support::block_on(issue(&store, TOKEN));
    let slow = thread::spawn({
        let auth = auth.clone();
        move || support::block_on(auth.authenticate(TOKEN)).is_ok()
    });
    stuck.recv().unwrap();
    let (done, others) = mpsc::channel();
    thread::spawn(move || {
        let hit = support::block_on(auth.authenticate(TOKEN)).is_ok();
        auth.flush();
        let read = support::block_on(auth.authenticate(TOKEN)).is_ok();
        let change = support::block_on(auth.keys().deactivate(key.id())).is_ok();
        done.send((hit, read, change)).unwrap();
    });
    let others = others.recv_timeout(Duration::from_secs(20));
    assert_eq!(others, Ok((true, true, true)), "the others wait for a stranger's listener");
    assert!(!slow.is_finished());
    go_on.send(()).unwrap();
    assert!(slow.join().unwrap());
}

#[test]
fn a_closure_listens_and_the_last_listener_counts() {
    let (first, second) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counting = |count: &Arc<AtomicUsize>| {
        let count = Arc::clone(count);
        move |_: Event<'_>| {
            count.fetch_add(1, Ordering::SeqCst);
        }
    };
    let builder = Authenticator::builder(Scripted::new()).events(counting(&first));
    let (auth, _guard) = builder.events(counting(&second)).build().unwrap();
    assert!(support::block_on(auth.authenticate("a")).is_err());
    assert_eq!((first.load(Ordering::SeqCst), second.load(Ordering::SeqCst)), (0, 2));
}

/// A store ran its transaction again, and one of the keys had gone by then: it was not deactivated.
///
/// Negative control: without the look at what was written, both are told.
#[cfg(feature = "test-util")]
#[tokio::test]
async fn of_a_transaction_that_was_run_again_only_what_was_written_is_told() {
    let rows = tower_token_auth::MemoryStore::new();
    let (store, heard) = (support::Quirky::over(rows).retrying(), Heard::default());
    let gone = issue_with(&store.rows(), "gone", Owner::staff("ada"), |key| key).await.id();
    let left = issue_with(&store.rows(), "left", Owner::staff("ada"), |key| key).await.id();
    let builder = Authenticator::builder(store.clone()).events(heard.clone());
    let keys = builder.build().unwrap().0.keys();
    store.between_tries(move |rows| async move {
        support::remove(&rows, gone).await.unwrap();
    });
    assert_eq!(keys.revoke_all("ada").await.unwrap(), 1);
    assert_eq!(heard.since(), [format!("deactivated {left} of ada")]);
}
