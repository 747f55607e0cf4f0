//! The conformance suite of feeds: on ours, and on some with one fault each.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use std::sync::atomic::{AtomicUsize, Ordering};

use tower_token_auth::{
    KeyId, OwnerId, Subject,
    store::{
        ChannelFeed, RevocationChannel,
        conformance::{self, FeedFixture},
    },
};

use super::broken_feed::{Broken, Fault, Probes};

const CAPACITY: usize = 256;

/// A channel whose feeds are made as a test says.
struct Channel<F> {
    channel: RevocationChannel,
    make: F,
}

impl<F> Channel<F> {
    fn with(make: F) -> Self {
        Self { channel: RevocationChannel::new(CAPACITY), make }
    }
}

impl<F: Fn(ChannelFeed) -> T, T: tower_token_auth::store::RevocationFeed> FeedFixture
    for Channel<F>
{
    type Feed = T;

    async fn feed(&self) -> T {
        (self.make)(self.channel.feed())
    }

    async fn change_key(&self) -> KeyId {
        let key = KeyId::random();
        self.channel.revoke(Subject::Key(key));
        key
    }

    async fn change_owner(&self) -> OwnerId {
        let owner = OwnerId::from(KeyId::random().to_string());
        self.channel.revoke(Subject::Owner(owner.clone()));
        owner
    }

    async fn change_many(&self) -> Vec<Subject> {
        let mut all = Vec::new();
        for _ in 0..100 {
            all.push(Subject::Key(self.change_key().await));
        }
        all
    }

    async fn break_line(&self) -> bool {
        true
    }

    /// More than it holds: what was told before is gone for who has not heard it yet.
    async fn mend_line(&self) {
        for _ in 0..=CAPACITY {
            self.change_key().await;
        }
    }
}

#[tokio::test]
async fn the_channel_conforms() {
    conformance::revocation_feed(&Channel::with(|feed| feed)).await;
}

/// What the suite says of a feed that it is to refuse.
fn complaint_about(fault: Fault) -> String {
    let suite = move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        // Time flies where nothing else is left to do: who waits in vain does not wait for long.
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let probes = Probes::default();
        let fixture = Channel::with(move |feed| Broken::with(fault, feed, &probes));
        runtime.block_on(conformance::revocation_feed(&fixture));
    };
    let panic = std::thread::spawn(suite).join().expect_err("the suite did not notice");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

/// The suite's negative controls: one fault each, and the rule that is to be named.
#[test]
fn the_suite_names_the_rule_that_a_broken_feed_breaks() {
    let faults = [
        (Fault::AnswersEarly, "told before its answer"),
        (Fault::AnswersTheFirst, "`next` answers a probe with its nonce"),
        (Fault::CountsInFloats, "`next` answers a probe with its nonce"),
        (Fault::AnswersForOthers, "a probe of one's own"),
        (Fault::DropsHalfway, "a dropped `next` had taken in"),
        (Fault::ForgetsOwners, "a change is told without a probe"),
        (Fault::TellsWhenAsked, "a change is told without a probe"),
        (Fault::TellsFewOfMany, "every subject is told"),
        (Fault::TellsWithoutEnd, "it tells without an end"),
        (Fault::HidesGaps, "is an error, or told as everything"),
        (Fault::ListensOnce, "failed where it should answer"),
        (Fault::StaysDeaf, "`listen` answers `Ok` again"),
    ];
    for (fault, named) in faults {
        let said = complaint_about(fault);
        assert!(said.contains(named), "{fault:?} was called: {said}");
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let probes = Probes::default();
    let fixture = Channel::with(|feed| Broken::with(Fault::None, feed, &probes));
    runtime.block_on(conformance::revocation_feed(&fixture));
}

/// Keys and owners nobody has seen yet.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
struct Fresh(AtomicUsize);

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl Fresh {
    fn name(&self) -> String {
        // Relaxed: the numbers only have to differ.
        format!("fresh-{}", self.0.fetch_add(1, Ordering::Relaxed))
    }

    async fn key(&self, store: &impl tower_token_auth::store::KeyRepository) -> KeyId {
        crate::support::issue(store, &self.name()).await.id()
    }

    async fn owner(&self, store: &impl tower_token_auth::store::KeyRepository) -> OwnerId {
        let owner = tower_token_auth::Owner::staff(self.name());
        let id = owner.id().clone();
        crate::support::issue_with(store, &self.name(), owner, |key| key).await;
        id
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use tempfile::TempDir;
    use tower_token_auth::{SqliteFeed, SqliteStore};

    use super::*;
    use crate::support::shell;

    struct File {
        store: SqliteStore,
        fresh: Fresh,
        folder: TempDir,
    }

    impl File {
        /// By another program than this one.
        fn run(&self, sql: &str) {
            shell::run(&self.folder.path().join("keys.db"), sql);
        }
    }

    impl FeedFixture for File {
        type Feed = SqliteFeed;

        async fn feed(&self) -> SqliteFeed {
            self.store.feed().look_every(std::time::Duration::from_millis(5))
        }

        async fn change_key(&self) -> KeyId {
            let id = self.fresh.key(&self.store).await;
            self.run(&format!("UPDATE token_auth_keys SET is_active = 0 WHERE key_id = '{id}'"));
            id
        }

        async fn change_owner(&self) -> OwnerId {
            let id = self.fresh.owner(&self.store).await;
            self.run(&format!("UPDATE token_auth_owners SET is_active = 0 WHERE id = '{id}'"));
            id
        }

        async fn change_many(&self) -> Vec<Subject> {
            let mut all = Vec::new();
            for _ in 0..100 {
                all.push(Subject::Key(self.fresh.key(&self.store).await));
            }
            self.run("UPDATE token_auth_keys SET is_active = 0");
            all
        }

        async fn break_line(&self) -> bool {
            true
        }

        /// The log is emptied, before or behind what a feed read of it: what it has not heard is lost.
        async fn mend_line(&self) {
            self.run("DELETE FROM token_auth_changes");
        }
    }

    #[tokio::test]
    async fn the_feed_of_a_file_conforms() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
        conformance::revocation_feed(&File { store, fresh: Fresh(AtomicUsize::new(0)), folder })
            .await;
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use tower_token_auth::{PostgresFeed, PostgresStore};

    use super::*;
    use crate::support::postgres::Database;

    struct Server {
        store: PostgresStore,
        fresh: Fresh,
        database: Database,
    }

    impl Server {
        async fn run(&self, sql: &str) {
            self.database.run(sql).await.expect(sql);
        }
    }

    impl FeedFixture for Server {
        type Feed = PostgresFeed;

        async fn feed(&self) -> PostgresFeed {
            self.store.feed()
        }

        async fn change_key(&self) -> KeyId {
            let id = self.fresh.key(&self.store).await;
            let sql = format!("UPDATE {{p}}keys SET is_active = false WHERE key_id = '{id}'");
            self.run(&sql).await;
            id
        }

        async fn change_owner(&self) -> OwnerId {
            let id = self.fresh.owner(&self.store).await;
            self.run(&format!("UPDATE {{p}}owners SET is_active = false WHERE id = '{id}'")).await;
            id
        }

        async fn change_many(&self) -> Vec<Subject> {
            let mut all = Vec::new();
            for _ in 0..100 {
                all.push(Subject::Key(self.fresh.key(&self.store).await));
            }
            self.run("UPDATE {p}keys SET is_active = false").await;
            all
        }

        /// The connections that listen are cut.
        async fn break_line(&self) -> bool {
            self.database.run(&self.database.cut_listeners()).await.unwrap();
            true
        }
    }

    #[tokio::test]
    async fn the_feed_of_a_server_conforms() {
        let Some(database) = Database::new() else { return };
        let store = database.open().await;
        let fresh = Fresh(AtomicUsize::new(0));
        conformance::revocation_feed(&Server { store, fresh, database }).await;
    }
}
