//! A connection that is lost at each step of a change, during its commit as well.
//!
//! What is said of it must be true: "not applied" of nothing that was or will be, and "made" of what is
//! there. What is not certain is settled by another change of the same rows.

use std::{thread, time::Duration};

use tower_token_auth::{
    ApiKey, Owner, PostgresStore, Record,
    store::{Family, KeyRepository as _, KeyStore as _, KeyWrite, StoreError},
};

use super::{Database, ada, digest_of, issue, key_of, with_a_key};
use crate::support::{
    edit, edit_owner,
    proxy::{Loss, Proxy},
    rounds,
};

/// As a simple query ends; `READ COMMITTED` is another word.
const COMMIT: &[u8] = b"COMMIT\0";

/// The URL with another port of this machine in the server's place.
fn through(url: &str, port: u16) -> String {
    let (user, host) = url.rsplit_once('@').unwrap();
    let (_, database) = host.split_once('/').unwrap();
    format!("{user}@127.0.0.1:{port}/{database}")
}

fn target(url: &str) -> String {
    let (_, host) = url.rsplit_once('@').unwrap();
    host.split_once('/').unwrap().0.to_owned()
}

/// The kinds of change there are.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Insert,
    Replace,
    Owner,
}

impl Deed {
    async fn make(
        self,
        store: &PostgresStore,
        old: &ApiKey,
        new: &ApiKey,
    ) -> Result<(), StoreError> {
        match self {
            Self::Insert => {
                store.insert(new.clone(), ada(), None, &mut |_, _| true).await.map(drop)
            }
            Self::Replace => {
                let mut plan = |family: &Family| {
                    let old = family.key.key().clone().with_active(false);
                    Some(vec![KeyWrite::Update(old), KeyWrite::Insert(new.clone())])
                };
                store.change(&[old.id()], None, &mut plan).await.map(drop)
            }
            Self::Owner => {
                let mut edit = |stored: Option<&Owner>, _: Option<&Owner>| {
                    Some(stored?.clone().with_username(new.name()).with_accounts(["c"]))
                };
                store.change_owner(&"ada".into(), None, &mut edit).await.map(drop)
            }
        }
    }

    /// Writes the same rows as they stand, so that the lost one is over; says whether it was made.
    async fn settle(
        self,
        store: &PostgresStore,
        old: &ApiKey,
        new: &ApiKey,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Insert => {
                let claimed = store.insert(new.clone(), ada(), None, &mut |_, _| true).await;
                match claimed {
                    Ok(record) => {
                        crate::support::remove(store, record.id()).await?;
                        Ok(false)
                    }
                    Err(error) if error.is_duplicate() => Ok(true),
                    Err(error) => Err(error),
                }
            }
            Self::Replace => {
                let same = |record: &Record| Some(record.key().clone());
                edit(store, old.id(), same).await.map(|record| !record.key().is_active())
            }
            Self::Owner => {
                let mut same = |stored: Option<&Owner>, _: Option<&Owner>| stored.cloned();
                let owner = store.change_owner(&"ada".into(), None, &mut same).await?;
                Ok(owner.username() == new.name())
            }
        }
    }

    /// Whether it is there, whole; half of it is a failure.
    async fn is_made(self, store: &PostgresStore, old: &ApiKey, new: &ApiKey) -> bool {
        let new_is_there = store.find(*new.digest()).await.unwrap().is_some();
        match self {
            Self::Insert => new_is_there,
            Self::Replace => {
                let old = store.get(old.id()).await.unwrap().unwrap();
                assert_eq!(old.key().is_active(), !new_is_there, "half of it is there");
                new_is_there
            }
            Self::Owner => {
                let ada = store.owner(&"ada".into()).await.unwrap().unwrap();
                let is_new = ada.username() == new.name();
                let accounts: &[&str] = if is_new { &["c"] } else { &["a", "b"] };
                assert_eq!(ada, ada.clone().with_accounts(accounts.iter().copied()), "half of it");
                is_new
            }
        }
    }
}

/// Seen to fail with an error of the commit taken for one of a statement: "not applied" of what is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_is_cut_at_each_message() {
    for deed in [Deed::Insert, Deed::Replace, Deed::Owner] {
        for how in [Loss::Before, Loss::After] {
            let Some((database, direct)) = with_a_key().await else { return };
            let proxy = Proxy::to(target(&database.url)).await;
            let url = through(&database.url, proxy.port);
            let mut commits = 0;
            for number in 0.. {
                let store = database.options().max_connections(1).open(&url).await.unwrap();
                edit_owner(&direct, &"ada".into(), |_| Some(ada())).await.unwrap();
                let old = issue(&direct, &format!("old {number}")).await;
                let new = key_of(&format!("new {number}")).with_predecessor(Some(old.id()));
                proxy.lose(number, how);
                let outcome = deed.make(&store, &old, &new).await;
                let Some(lost) = proxy.lost() else {
                    outcome.unwrap();
                    break;
                };
                let is_commit = is_commit(&lost);
                commits += usize::from(is_commit);
                let Err(error) = outcome else {
                    // What was cut is the pool's own look at a connection that comes back to it.
                    assert!(!is_commit, "{deed:?}, {number}, {how:?}");
                    assert!(deed.is_made(&direct, &old, &new).await);
                    continue;
                };
                assert_eq!(
                    error.is_definite(),
                    !is_commit,
                    "{deed:?}, {number}, {how:?}: {error:?}"
                );
                let settled = deed.settle(&direct, &old, &new).await.unwrap();
                assert_eq!(settled, is_commit && how == Loss::After, "{deed:?}, {number}, {how:?}");
                // The store goes on, with another connection.
                assert!(store.find(digest_of("t")).await.unwrap().is_some());
                if !matches!(deed, Deed::Insert) || settled {
                    assert_eq!(deed.is_made(&direct, &old, &new).await, settled);
                }
            }
            assert_eq!(commits, 1, "{deed:?}, {how:?}: one of them was the commit");
        }
    }
}

/// A commit that never arrives, from a client that is gone: its rows are held until the server ends its
/// transaction; a change that is to settle it fails as not applied until then, and then it is settled.
/// Meanwhile reads go on.
///
/// Seen to fail without `idle_in_transaction_session_timeout`: its rows are held for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrives_holds_its_rows_for_a_while() {
    let Some((database, _store)) = with_a_key().await else { return };
    let options = || {
        let options = database.options().statement_timeout(Duration::from_millis(1_500));
        options.lock_timeout(Duration::from_millis(20))
    };
    let direct = options().open(&database.url).await.unwrap();
    let proxy = Proxy::to(target(&database.url)).await;
    let url = through(&database.url, proxy.port);
    for n in 0..rounds(1, 5) {
        let store = options().max_connections(1).open(&url).await.unwrap();
        let old = issue(&direct, &format!("old {n}")).await;
        let new = key_of(&format!("new {n}"));
        proxy.lose_with(COMMIT, Loss::Stalled);
        tokio::select! {
            made = Deed::Replace.make(&store, &old, &new) => panic!("{made:?}"),
            () = stalled(&proxy) => {}
        }
        let held = Deed::Replace.settle(&direct, &old, &new).await.unwrap_err();
        assert!(held.is_not_applied(), "{held:?}");
        assert!(!Deed::Replace.is_made(&direct, &old, &new).await);
        let settled = async {
            loop {
                match Deed::Replace.settle(&direct, &old, &new).await {
                    Ok(is_made) => return is_made,
                    Err(error) => assert!(error.is_not_applied(), "{error:?}"),
                }
            }
        };
        let settled = tokio::time::timeout(Duration::from_secs(20), settled).await;
        assert!(!settled.expect("the server ends it"), "it can't have landed");
    }
}

fn is_commit(message: &[u8]) -> bool {
    message.windows(COMMIT.len()).any(|word| word == COMMIT)
}

/// Until a message is stalled.
async fn stalled(proxy: &Proxy) {
    while proxy.lost().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The server ends a backend while a change is judged, and while it commits: a deferred trigger keeps the
/// commit open for that long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_is_terminated() {
    let Some((database, store)) = with_a_key().await else { return };
    let old = store.find(digest_of("t")).await.unwrap().unwrap().key().clone();
    let new = key_of("new");
    let mut plan = |family: &Family| {
        terminate(&database, "idle in transaction");
        Some(vec![KeyWrite::Update(family.key.key().clone().with_name("late"))])
    };
    let error = store.change(&[old.id()], None, &mut plan).await.unwrap_err();
    assert!(error.is_not_applied(), "{error:?}");
    assert_eq!(store.get(old.id()).await.unwrap().unwrap().key().name(), "t");

    deferred(&database, "PERFORM pg_sleep(60)").await;
    let made = tokio::spawn({
        let (store, old, new) = (store.clone(), old.clone(), new.clone());
        async move { Deed::Replace.make(&store, &old, &new).await }
    });
    let ended = tokio::task::block_in_place(|| terminate(&database, "active"));
    assert!(ended.contains("COMMIT"), "{ended}");
    let error = made.await.unwrap().unwrap_err();
    assert!(!error.is_definite(), "it may have been made: {error:?}");
    database.run("DROP TRIGGER slow ON {p}keys").await.unwrap();
    assert!(!Deed::Replace.settle(&store, &old, &new).await.unwrap());
}

/// The server says itself that it undid the transaction: that is certain, and no reason to deny.
#[tokio::test]
async fn a_commit_that_the_server_refuses_is_not_applied() {
    let Some((database, store)) = with_a_key().await else { return };
    let old = store.find(digest_of("t")).await.unwrap().unwrap().key().clone();
    deferred(&database, "RAISE unique_violation").await;
    let error = Deed::Replace.make(&store, &old, &key_of("new")).await.unwrap_err();
    assert!(error.is_not_applied(), "{error:?}");
    database.run("DROP TRIGGER slow ON {p}keys").await.unwrap();
    // Any other word of its says less than that.
    deferred(&database, "RAISE query_canceled").await;
    let error = Deed::Replace.make(&store, &old, &key_of("new")).await.unwrap_err();
    assert!(!error.is_definite(), "{error:?}");
    database.run("DROP TRIGGER slow ON {p}keys").await.unwrap();
    Deed::Replace.make(&store, &old, &key_of("new")).await.unwrap();
}

/// Has the server do something at the commit of whatever changes a key.
async fn deferred(database: &Database, what: &str) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION {schema}.slow() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN {what}; RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON {{p}}keys DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION {schema}.slow()",
        schema = database.schema
    );
    database.run(&sql).await.unwrap();
}

/// Ends the backend that has this schema's change under way, once it is in this state; answers with what
/// it did last.
fn terminate(database: &Database, state: &str) -> String {
    thread::scope(|scope| {
        let ended = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                // It holds locks on the schema's tables. Ended by a statement of its own: a condition of
                // this one might be asked of other backends first.
                let sql = "SELECT a.pid, a.query FROM pg_stat_activity AS a WHERE a.state = $1 \
                           AND a.pid <> pg_backend_pid() AND EXISTS (SELECT 1 FROM pg_locks AS l \
                           WHERE l.pid = a.pid AND l.mode = 'RowShareLock' \
                           AND l.relation = to_regclass('token_auth_keys')) \
                           AND (a.state <> 'active' OR a.query = 'COMMIT')";
                let mut connection = database.connection().await;
                loop {
                    let query = sqlx::query_as::<_, (i32, String)>(sql).bind(state);
                    if let Some((pid, did)) = query.fetch_optional(&mut connection).await.unwrap() {
                        let end = sqlx::query("SELECT pg_terminate_backend($1)").bind(pid);
                        end.execute(&mut connection).await.unwrap();
                        return did;
                    }
                }
            })
        });
        ended.join().unwrap()
    })
}
