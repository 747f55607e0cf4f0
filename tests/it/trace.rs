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
