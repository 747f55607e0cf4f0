//! Encrypted connections, or none: what a URL asks for, a server can do, and this build is able to.

use tower_token_auth::{PostgresStore, store::StoreError};

fn line(opened: Result<PostgresStore, StoreError>) -> String {
    let line = opened.expect_err("it can't be opened").to_string();
    assert!(!line.contains('\n') && line.len() < 400, "one line: {line}");
    line
}

#[cfg(not(any(
    feature = "tls-rustls-aws-lc-rs",
    feature = "tls-rustls-ring-native-roots",
    feature = "tls-rustls-ring-webpki"
)))]
mod without {
    use super::line;
    use crate::postgres::Database;

    /// Seen to fail with a build that has one of them.
    #[tokio::test]
    async fn a_build_without_the_features_names_them() {
        let Some(database) = Database::new() else { return };
        for mode in ["require", "verify-ca", "verify-full"] {
            let sign = if database.url.contains('?') { '&' } else { '?' };
            let url = format!("{}{sign}sslmode={mode}", database.url);
            let said = line(database.options().open(&url).await);
            for feature in ["aws-lc-rs", "ring-native-roots", "ring-webpki"] {
                assert!(said.contains(&format!("`tls-rustls-{feature}`")), "{mode}: {said}");
            }
        }
    }
}

#[cfg(any(
    feature = "tls-rustls-aws-lc-rs",
    feature = "tls-rustls-ring-native-roots",
    feature = "tls-rustls-ring-webpki"
))]
mod with {
    use std::time::Duration;

    use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};
    use tower_token_auth::{Authenticator, PostgresStore, RejectionKind};

    use super::line;
    use crate::{
        postgres::{gaps::FOREVER, issue},
        support::server::Server,
    };

    /// The server's URL with what a connection is to be called by the server, and how it is to be made.
    fn url(server: &Server, name: &str, how: &str) -> String {
        format!("{}?application_name={name}&{how}", server.url())
    }

    /// Encrypted to the last connection with a certificate that fits; with one that does not, or with a
    /// server that has none, one error that says so, and no connection in the clear instead.
    ///
    /// Seen to fail with a store, and with a listener, that asks for `sslmode=disable` (not encrypted),
    /// and without the look at `InvalidData` in `place` (it tells to check host and port).
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_to_be_encrypted_is_or_fails() {
        let Some(server) = Server::start() else { return };
        let open = |url: String| async move { PostgresStore::open(&url).await };
        for mode in ["require", "verify-full"] {
            let said = line(open(url(&server, "refused", &format!("sslmode={mode}"))).await);
            assert!(said.contains("server does not support TLS"), "{said}");
        }
        server.stop();
        let [ours, other] = server.encrypt();
        server.again();

        let full = |ca: &str| format!("sslmode=verify-full&sslrootcert={ca}");
        let by_name = url(&server, "refused", &full(&ours)).replace("@127.0.0.1", "@localhost");
        let untrusted = ["sslmode=verify-full".to_owned(), full(&other)];
        let untrusted = untrusted.map(|how| url(&server, "refused", &how));
        for url in untrusted.into_iter().chain([by_name]) {
            let said = line(open(url).await);
            assert!(said.contains("no encrypted connection") && said.contains("sslroot"), "{said}");
            assert!(said.contains("invalid peer certificate"), "{said}");
        }

        let store = open(url(&server, "trusted", &full(&ours))).await.unwrap();
        let id = issue(&store, "t").await.id();
        let (feed, fresh_ttl) = (store.feed(), Duration::from_secs(3_600));
        let builder = Authenticator::builder(store).feed(feed).fresh_ttl(fresh_ttl);
        let (auth, _guard) = builder.build().unwrap();
        let healthy = async {
            while !auth.feed_health().is_healthy() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(FOREVER, healthy).await.expect("it listens");
        assert!(auth.authenticate("t").await.is_ok());

        // Whoever asks is not, as a control of what is asked.
        let connect: PgConnectOptions = url(&server, "plain", "sslmode=disable").parse().unwrap();
        let mut plain = connect.connect().await.unwrap();
        let sql = "SELECT application_name, ssl, query LIKE 'LISTEN %' FROM pg_stat_ssl \
                   JOIN pg_stat_activity USING (pid) WHERE application_name <> ''";
        let rows = sqlx::query_as::<_, (String, bool, bool)>(sql);
        let rows = rows.fetch_all(&mut plain).await.unwrap();
        let count = |name: &str, is_encrypted, listens| {
            let row = (name.to_owned(), is_encrypted, listens);
            rows.iter().filter(|found| **found == row).count()
        };
        assert_eq!(count("trusted", true, true), 1, "the listener: {rows:?}");
        assert!(count("trusted", true, false) > 0, "the store's: {rows:?}");
        assert_eq!(count("plain", false, false), 1, "{rows:?}");
        assert_eq!(rows.len(), 1 + count("trusted", true, true) + count("trusted", true, false));

        // And it is heard that way.
        let sql = "UPDATE token_auth_keys SET is_active = false";
        sqlx::raw_sql(sql).execute(&mut plain).await.unwrap();
        let heard = async {
            loop {
                if let Err(refusal) = auth.authenticate("t").await {
                    return refusal.kind();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let heard = tokio::time::timeout(FOREVER, heard).await.expect("it is told");
        assert_eq!(heard, RejectionKind::KeyInactive, "of {id}");
        // The server notes each connection that it let in.
        let log = server.log();
        assert!(log.contains("application_name=trusted SSL enabled"), "{log}");
        assert!(log.contains("application_name=plain\n"), "{log}");
        assert!(!log.contains("application_name=refused"), "{log}");
    }
}
