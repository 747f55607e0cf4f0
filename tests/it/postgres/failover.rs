//! Servers that follow another one: a standby that takes its primary's place, too early and then in
//! earnest, behind a pooler as well, and a database to which changes are replicated.

use std::time::Duration;

use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tower_token_auth::{
    Authenticator, FeedHealth, PostgresOptions, PostgresStore, RejectionKind, Subject,
    store::{Heard, KeyRepository as _, KeyStore as _, RevocationFeed as _},
};

use super::{
    digest_of,
    gaps::{FOREVER, HEARTBEAT, SHORT_TTL, TIMEOUT, through},
    issue,
};
use crate::support::{
    gate::{Gate, Way},
    server::Server,
};

fn options() -> PostgresOptions {
    PostgresStore::options().max_connections(4).acquire_timeout(Duration::from_secs(2))
}

/// Asks until the decision is this one.
async fn until(auth: &Authenticator, token: &str, expected: Option<RejectionKind>) {
    let decided = tokio::time::timeout(FOREVER, async {
        while auth.authenticate(token).await.err().map(|refusal| refusal.kind()) != expected {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    decided.await.unwrap_or_else(|_| panic!("it never comes to {expected:?}"));
}

async fn until_the_feed(auth: &Authenticator, what: &str, is: impl Fn(&FeedHealth) -> bool) {
    let became = tokio::time::timeout(FOREVER, async {
        while !is(&auth.feed_health()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    became.await.unwrap_or_else(|_| panic!("the feed never {what}: {}", auth.feed_health()));
}

/// The name by which the store goes leads to a standby while the primary is gone: nothing is read there,
/// as it may be behind, nor listened to. Once the standby was made the primary, the node goes on by
/// itself, with keys that were never read before and with revocations made there.
///
/// Seen to fail without `after_connect` in `PostgresOptions::pool`: the standby answers, with the feed
/// down and nobody the wiser; behind a pooler, with reads that begin `READ ONLY`; and, where a feed is led to a standby, without `is_primary` in `Ear::open`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_answers_only_once_it_is_the_primary() {
    let Some(primary) = Server::start() else { return };
    let gate = Gate::to(format!("127.0.0.1:{}", primary.port), Way::Open).await;
    let store = options().open(&through(&primary.url(), gate.port)).await.unwrap();
    issue(&store, "t").await;
    issue(&store, "cold").await;
    let standby = primary.standby();

    let refused = options().open(&standby.url()).await.unwrap_err().to_string();
    assert!(
        refused.contains("it is a standby") && refused.contains("name the primary"),
        "{refused}"
    );
    let mut astray = store.feed().listen_at(&standby.url()).unwrap();
    let refused = astray.listen().await.unwrap_err().to_string();
    assert!(refused.contains("it is a standby"), "{refused}");

    let feed = store.feed();
    let (auth, _guard) = Authenticator::builder(store)
        .feed(feed)
        .feed_heartbeat(HEARTBEAT)
        .feed_timeout(TIMEOUT)
        .short_ttl(SHORT_TTL)
        .build()
        .unwrap();
    until_the_feed(&auth, "listens", FeedHealth::is_healthy).await;
    until(&auth, "t", None).await;
    // As behind a pooler, nobody asks here what a connection that stands for long leads to by now.
    let lazy: PgConnectOptions = through(&primary.url(), gate.port).parse().unwrap();
    let lazy = PgPoolOptions::new().max_connections(1).connect_with(lazy).await.unwrap();
    let pooled = options().transaction_pooler(true).from_pool(lazy).await.unwrap();
    assert!(pooled.find(digest_of("t")).await.unwrap().is_some());

    primary.stop();
    gate.leads_to(format!("127.0.0.1:{}", standby.port));
    gate.reset();
    until(&auth, "t", Some(RejectionKind::StoreUnavailable)).await;
    until_the_feed(&auth, "says why", |health| health.to_string().contains("unhealthy")).await;
    for token in ["cold", "t", "cold", "t"] {
        let refusal = auth.authenticate(token).await.unwrap_err();
        assert_eq!(refusal.kind(), RejectionKind::StoreUnavailable);
    }
    for _ in 0..3 {
        let found = pooled.find(digest_of("t")).await.map(drop);
        assert!(found.unwrap_err().is_unavailable(), "read on a standby");
    }

    standby.promote();
    until(&auth, "cold", None).await;
    until(&auth, "t", None).await;
    assert!(pooled.find(digest_of("t")).await.unwrap().is_some());
    until_the_feed(&auth, "listens again", FeedHealth::is_healthy).await;
    let connect: PgConnectOptions = standby.url().parse().unwrap();
    let mut there = connect.connect().await.unwrap();
    let sql = "UPDATE token_auth_keys SET is_active = false WHERE name = 't'";
    sqlx::raw_sql(sql).execute(&mut there).await.unwrap();
    until(&auth, "t", Some(RejectionKind::KeyInactive)).await;
    until(&auth, "cold", None).await;
}

/// What logical replication applies fires the triggers of the database that it is applied to.
///
/// Seen to fail with triggers that are not `ALWAYS` there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replication_applies_is_told() {
    let Some(server) = Server::start() else { return };
    let url = server.url();
    let there = url.strip_suffix("/postgres").map(|server| format!("{server}/subscriber")).unwrap();
    let source = options().open(&url).await.unwrap();
    let connect: PgConnectOptions = url.parse().unwrap();
    let mut publisher = connect.connect().await.unwrap();
    for sql in [
        "CREATE DATABASE subscriber",
        "CREATE PUBLICATION keys FOR TABLE token_auth_owners, token_auth_memberships, token_auth_keys",
        "SELECT pg_create_logical_replication_slot('keys', 'pgoutput')",
    ] {
        sqlx::raw_sql(sql).execute(&mut publisher).await.unwrap();
    }
    let store = options().open(&there).await.unwrap();
    let connect: PgConnectOptions = there.parse().unwrap();
    let mut subscriber = connect.connect().await.unwrap();
    let subscribe = format!(
        "CREATE SUBSCRIPTION keys CONNECTION 'host=127.0.0.1 port={} user=postgres' \
         PUBLICATION keys WITH (create_slot = false, slot_name = 'keys', copy_data = false)",
        server.port
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(subscribe)).execute(&mut subscriber).await.unwrap();
    let key = issue(&source, "t").await;
    let came = async {
        while store.get(key.id()).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(FOREVER, came).await.expect("it is replicated");
    let mut feed = store.feed();
    feed.listen().await.unwrap();
    let sql = "UPDATE token_auth_keys SET is_active = false";
    sqlx::raw_sql(sql).execute(&mut publisher).await.unwrap();
    let heard = tokio::time::timeout(FOREVER, feed.next()).await.expect("it is told");
    assert_eq!(heard.unwrap(), Heard::Revoked(vec![Subject::Key(key.id())]));
    sqlx::raw_sql("DROP SUBSCRIPTION keys").execute(&mut subscriber).await.unwrap();
}

/// A revocation that waits for a standby which is gone holds up whoever notifies, heartbeats among them.
/// One that nobody waits for any more ends by itself, so that they do not fill the server.
///
/// Seen to fail without the lock's timeout in `Round::heartbeat`, also with a statement's in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_do_not_pile_up_behind_a_commit_that_waits() {
    let Some(server) = Server::start() else { return };
    let store = options().open(&server.url()).await.unwrap();
    issue(&store, "t").await;
    let mut feed = store.feed();
    feed.listen().await.unwrap();
    let connect: PgConnectOptions = server.url().parse().unwrap();
    let mut look = connect.connect().await.unwrap();
    for sql in ["ALTER SYSTEM SET synchronous_standby_names = 'gone'", "SELECT pg_reload_conf()"] {
        sqlx::raw_sql(sql).execute(&mut look).await.unwrap();
    }
    let mut waits = connect.connect().await.unwrap();
    let waiting = tokio::spawn(async move {
        let sql = "UPDATE token_auth_keys SET is_active = false";
        sqlx::raw_sql(sql).execute(&mut waits).await
    });
    let count = async |look: &mut sqlx::PgConnection, what: &str| {
        let count =
            format!("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND {what}");
        let count = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(count));
        count.fetch_one(look).await.unwrap()
    };
    let (commit, heartbeat) = ("wait_event = 'SyncRep'", "query LIKE '%token_auth_alive_%'");
    let heartbeat = format!("pid <> pg_backend_pid() AND {heartbeat}");
    let until = async |look: &mut sqlx::PgConnection, what: &str, expected: i64| {
        let became = tokio::time::timeout(FOREVER, async {
            while count(look, what).await != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        became.await.unwrap_or_else(|_| panic!("never {expected}: {what}"));
    };
    until(&mut look, commit, 1).await;
    feed.probe(1).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_millis(500), feed.next()).await;
    assert!(heard.is_err(), "it waits for the commit");
    until(&mut look, &heartbeat, 1).await;
    drop(feed);
    until(&mut look, &heartbeat, 0).await;
    assert_eq!(count(&mut look, commit).await, 1, "the commit waits still");
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    sqlx::raw_sql(cancel).execute(&mut look).await.unwrap();
    waiting.await.unwrap().unwrap();
}
