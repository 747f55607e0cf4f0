//! What the layer tells a span.

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{Layer as _, service_fn};
use tower_token_auth::TokenAuthLayer;
use tracing::{Instrument as _, field::Empty};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::support::{
    TOKEN,
    http::{name_of_key, send, with_token},
    scripted,
};

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Control: with the recording left out, no line names the key.
#[tokio::test]
async fn a_span_that_declares_key_id_learns_the_key() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let (auth, _) = scripted().await;
    let id = auth.authenticate(TOKEN).await.expect("the key is there").id();
    auth.flush();
    let service = TokenAuthLayer::new(auth).layer(service_fn(name_of_key::<Full<Bytes>>));
    // First through the store, then as a hit.
    for request in ["first", "second"] {
        let span = tracing::info_span!("request", request, key_id = Empty);
        // As tower-http's `Trace` does it: the span is entered for the call and for each poll.
        let answer = async { send(&service, with_token::<Full<Bytes>>()).await };
        assert_eq!(answer.instrument(span).await.body, "key key");
    }
    let span = tracing::info_span!("request", request = "silent");
    let request: Request<Full<Bytes>> = with_token();
    send(&service, request).instrument(span).await;
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    for (request, is_named) in [("first", true), ("second", true), ("silent", false)] {
        let line = text.lines().find(|line| line.contains(request)).expect("a closed span");
        assert_eq!(line.contains(&format!("key_id={id}")), is_named, "{text}");
    }
    assert!(!text.contains(TOKEN), "{text}");
}

/// What is logged: refusals, changes, and a store in trouble once a second, whatever it is asked.
///
/// Seen to fail with each of the three shims emptied, and without the limit in `StoreTrouble` (30
/// lines).
#[cfg(feature = "test-util")]
#[tokio::test]
async fn refusals_changes_and_trouble_are_logged() {
    use crate::support::{Fault, Scripted, issue_with, long_ago};
    use tower_token_auth::{Authenticator, NewKey, Owner, testing::ManualClock};

    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let (store, clock) = (Scripted::new(), ManualClock::at(long_ago()));
    let ada = Owner::staff("ada");
    let old = issue_with(&store, "old", ada, |key| {
        key.with_expires_at(Some(long_ago() - chrono::Duration::days(1)))
    });
    let old = old.await.id();
    let (auth, _guard) =
        Authenticator::builder(store.clone()).clock(clock.clone()).build().unwrap();
    let lines = || {
        let text = std::mem::take(&mut *written.0.lock().unwrap());
        let text = String::from_utf8(text).unwrap();
        let ours = text.lines().filter(|line| line.contains("tower_token_auth: "));
        ours.map(|line| line.split_once('Z').unwrap().1.trim().to_owned()).collect::<Vec<_>>()
    };
    auth.authenticate("old").await.unwrap_err();
    auth.authenticate("a guess").await.unwrap_err();
    let refused = "DEBUG tower_token_auth: request refused kind=";
    assert_eq!(
        lines(),
        [format!("{refused}\"expired\" key_id={old}"), format!("{refused}\"unknown\"")]
    );
    let (key, _) = auth.keys().create(Owner::staff("ada"), NewKey::default()).await.unwrap();
    let id = key.id();
    auth.keys().deactivate(id).await.unwrap();
    auth.keys().delete(id).await.unwrap();
    let changes = ["created", "deactivated", "deleted"];
    let changes = changes.map(|what| format!("INFO tower_token_auth: key {what} key_id={id}"));
    assert_eq!(lines(), changes);

    // Failures that are no reason for the breaker to open, so that each request asks the store.
    store.break_reads(Some(Fault::Other));
    auth.flush();
    for second in 1..=3 {
        for _ in 0..10 {
            auth.authenticate("a guess").await.unwrap_err();
        }
        let lines = lines();
        let warnings = lines.iter().filter(|line| line.starts_with("WARN ")).collect::<Vec<_>>();
        assert_eq!(warnings.len(), 1, "in second {second}: {lines:#?}");
        assert!(warnings[0].contains("the key store could not be read error="), "{warnings:?}");
        clock.advance(std::time::Duration::from_secs(1));
    }
}
