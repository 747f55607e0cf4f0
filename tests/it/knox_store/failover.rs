//! A PostgreSQL standby that takes its primary's place, too early and then in earnest.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tower_token_auth::{KnoxStore, store::KeyStore as _};

use super::digest;
use crate::support::{
    gate::{Gate, Way},
    server::Server,
};

/// Long enough that a test which waits for it has failed.
const FOREVER: Duration = Duration::from_secs(30);

/// The name by which the store goes leads to a standby while the primary is gone: nothing is read there, as
/// it may be behind. Once it is the primary, the store goes on by itself.
///
/// Seen to fail without `after_connect` in `connect::pool`: the standby answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_answers_only_once_it_is_the_primary() {
    let Some(primary) = Server::start() else { return };
    let ddl = include_str!("../support/site/postgres.sql").split("-- smarter").next().unwrap();
    let rows = format!(
        "INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, \
         is_staff, is_active, date_joined) VALUES (1, '', true, 'ada', '', '', '', true, true, now()); \
         INSERT INTO knox_authtoken VALUES ('{}', now(), 1, NULL, 'x')",
        digest().to_hex()
    );
    let mut there = PgConnection::connect(&primary.url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("{ddl}; {rows}"))).execute(&mut there).await.unwrap();
    let gate = Gate::to(format!("127.0.0.1:{}", primary.port), Way::Open).await;
    let url = format!("postgres://postgres:nothing@127.0.0.1:{}/postgres", gate.port);
    let options = KnoxStore::options().max_connections(2).acquire_timeout(Duration::from_secs(2));
    let store = options.open(&url).await.unwrap();
    assert!(store.find(digest()).await.unwrap().is_some());
    let standby = primary.standby();

    primary.stop();
    gate.leads_to(format!("127.0.0.1:{}", standby.port));
    gate.reset();
    for _ in 0..4 {
        let found = store.find(digest()).await.map(drop);
        assert!(found.unwrap_err().is_unavailable(), "read on a standby");
    }

    standby.promote();
    let found = async {
        loop {
            if let Ok(found) = store.find(digest()).await {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(FOREVER, found).await.expect("it goes on");
    assert!(found.is_some());
}
