//! A node whose listener can't connect when it starts.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusBuilder;
use tower_token_auth::{Authenticator, FeedHealth, RejectionKind};

use super::{
    Database,
    gaps::{Counted, FOREVER, HEARTBEAT, SHORT_TTL, TIMEOUT, now, target, through},
    issue, with_a_key,
};
use crate::support::{
    gate::{Gate, Way},
    scrape::Scrape,
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

/// Waits until it holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(FOREVER, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

async fn switch_off(database: &Database, token: &str) {
    let sql = format!("UPDATE {{p}}keys SET is_active = false WHERE name = '{token}'");
    database.run(&sql).await.unwrap();
}

/// Asks until the token is refused; how long behind the change the last request began that was admitted.
async fn last_admission(auth: &Authenticator, token: &str) -> Duration {
    let (committed, mut admitted) = (now(), Duration::ZERO);
    loop {
        let asked = now();
        match auth.authenticate(token).await {
            Ok(_) => admitted = asked - committed,
            Err(refusal) => {
                assert_eq!(refusal.kind(), RejectionKind::KeyInactive);
                return admitted;
            }
        }
        assert!(admitted < FOREVER, "it is never refused");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// It serves under the short TTL, with its cache bounded as ever; says so by its health, by its gauge and
/// by one warning, however often it tries; and is well once its listener gets through.
///
/// Seen to fail with a short TTL of an hour, and with a warning at each try.
#[tokio::test]
async fn a_node_whose_listener_can_t_connect_at_start_serves_and_says_so() {
    let Some((database, store)) = with_a_key().await else { return };
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // This thread's alone, on which the driver runs as well.
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let warnings = || {
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let ours = text.lines().filter(|line| line.contains("tower_token_auth"));
        ours.map(str::to_owned).collect::<Vec<_>>()
    };

    let gate = Gate::to(target(&database.url), Way::Shut).await;
    let listens = Arc::new(AtomicUsize::new(0));
    let feed = store.feed().listen_at(&through(&database.url, gate.port)).unwrap();
    let builder = Authenticator::builder(store.clone()).feed(Counted(feed, Arc::clone(&listens)));
    let builder = builder.feed_heartbeat(HEARTBEAT).feed_timeout(TIMEOUT).short_ttl(SHORT_TTL);
    let builder = builder.fresh_ttl(Duration::from_secs(3_600)).capacity(8);
    let (auth, _guard) = builder.build().unwrap();
    assert_eq!(auth.feed_health(), FeedHealth::Starting);
    assert!(auth.authenticate("t").await.is_ok());

    until("it tries again", || listens.load(Ordering::SeqCst) >= 4).await;
    let health = auth.feed_health();
    assert!(matches!(health, FeedHealth::Unhealthy { .. }), "{health}");
    assert!(health.to_string().contains("can't be reached"), "{health}");
    assert_eq!(warnings().len(), 1, "{:#?}", warnings());
    assert!(warnings()[0].contains("relied on for a short time only"), "{:?}", warnings());

    assert!(auth.authenticate("t").await.is_ok());
    switch_off(&database, "t").await;
    let admitted = last_admission(&auth, "t").await;
    assert!(admitted <= SHORT_TTL, "{admitted:?} behind the change");

    for number in 0..40 {
        let token = format!("t-{number}");
        issue(&store, &token).await;
        assert!(auth.authenticate(&token).await.is_ok());
    }
    let scrape = || {
        let scrape = Scrape::parse(&handle.render());
        scrape.values.contains_key("token_auth_feeds{state=\"unhealthy\"}").then_some(scrape)
    };
    let is_full = || {
        scrape().is_some_and(|scrape| {
            let present = scrape.of("cache_entries{state=\"present\"}");
            assert!(present <= 8.0, "{present}");
            present > 4.0
        })
    };
    until("the gauges are published", is_full).await;
    assert_eq!(scrape().unwrap().of("feeds{state=\"unhealthy\"}"), 1.0);

    gate.becomes(Way::Open);
    until("it is well", || auth.feed_health().is_healthy()).await;
    assert_eq!(warnings().len(), 1, "{:#?}", warnings());
    assert!(auth.authenticate("t-1").await.is_ok());
    switch_off(&database, "t-1").await;
    last_admission(&auth, "t-1").await;
}
