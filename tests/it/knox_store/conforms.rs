//! The conformance suite, on each database and both schemas.

use std::sync::Mutex;

use tower_token_auth::{KnoxStore, store::conformance};

use crate::support::site::{Kind, Site};

/// The suite makes a fresh store for each of its rules; the databases go at the end.
async fn conforms(kind: Kind, is_smarter: bool) {
    let sites = Mutex::new(Vec::new());
    let fresh = async || -> KnoxStore {
        let site = Site::new(kind, is_smarter).await.expect("there was a server a moment ago");
        site.users(&[1, 2, 3]).await;
        if is_smarter {
            site.account(1, "0000-0000-0001").await;
            for user in 1..=3 {
                site.profile(user, user, 1).await;
            }
        }
        let store = site.store().await;
        sites.lock().unwrap().push(site);
        store
    };
    if Site::empty(kind).await.is_some() {
        conformance::key_repository(fresh).await;
    }
}

#[tokio::test]
async fn plain_knox_on_sqlite() {
    conforms(Kind::Sqlite, false).await;
}

#[tokio::test]
async fn plain_knox_on_postgresql() {
    conforms(Kind::Postgres, false).await;
}

#[tokio::test]
async fn plain_knox_on_mysql() {
    conforms(Kind::MySql, false).await;
}

#[tokio::test]
async fn smarter_on_sqlite() {
    conforms(Kind::Sqlite, true).await;
}

#[tokio::test]
async fn smarter_on_postgresql() {
    conforms(Kind::Postgres, true).await;
}

#[tokio::test]
async fn smarter_on_mysql() {
    conforms(Kind::MySql, true).await;
}
