//! A database that takes no writes: every key passes, one warning is given, and that is all.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use tower_token_auth::{Authenticator, MemoryStore, SqliteStore, store::KeyStore};

use super::{Desk, Mood, window::Counted};
use crate::support::issue;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Subscribes this thread, on which the test's runtime runs the recorder as well.
    fn subscribe(&self) -> tracing::subscriber::DefaultGuard {
        // While there is one subscriber in all, an event that another thread meets first, and that
        // thread has none, is switched off for good.
        static ANOTHER: LazyLock<tracing::Dispatch> =
            LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));
        LazyLock::force(&ANOTHER);
        let log = self.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn warnings(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect()
    }
}

/// Two keys are used and their uses refused; two more are used afterwards.
async fn passes_warns_once_and_does_not_ask_again(store: impl KeyStore) {
    let log = Log::default();
    let _subscribed = log.subscribe();
    let counted = Counted::new(store);
    let mut tally = counted.tally.subscribe();
    let (auth, guard) = Authenticator::read_only(counted).build().unwrap();
    for token in ["token-1", "token-2"] {
        auth.authenticate(token).await.unwrap();
    }
    tally.wait_for(|tally| tally.statements > 0).await.unwrap();
    for _ in 0..100 {
        for token in ["token-1", "token-2", "token-3", "token-4"] {
            auth.flush();
            auth.authenticate(token).await.unwrap();
        }
    }
    let report = guard.shutdown(Duration::from_secs(5)).await;
    assert_eq!(tally.borrow().statements, 1, "it is asked once");
    assert_eq!((report.written(), report.lost(), report.unwritten()), (0, 2, 0), "{report}");
    assert!(report.to_string().contains("can't write last uses, 2 lost"), "{report}");
    let warnings = log.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("can't write when keys were last used"), "{warnings:?}");
}

/// Seen to fail with a recorder that does not give up: the store is asked at every flush.
#[tokio::test]
async fn a_sqlite_file_opened_for_reading() {
    let folder = super::in_memory();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).await.unwrap();
    for number in 1..=4 {
        issue(&store, &format!("token-{number}")).await;
    }
    store.close().await;
    let url = format!("sqlite:{}?mode=ro", path.display());
    passes_warns_once_and_does_not_ask_again(SqliteStore::open(url).await.unwrap()).await;
}

/// Seen to fail like the test before.
#[tokio::test]
async fn a_store_that_supports_no_last_use() {
    let rows = MemoryStore::new();
    for number in 1..=4 {
        issue(&rows, &format!("token-{number}")).await;
    }
    passes_warns_once_and_does_not_ask_again(Desk::over(rows, Mood::Refuses)).await;
}
