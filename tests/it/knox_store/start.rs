//! Databases that can't be used, and what is said of them.

use crate::support::site::{KINDS, Kind, Site};

async fn refusal(site: &Site) -> String {
    let error = Site::options().open(&site.url).await.expect_err("it should be refused");
    error.to_string()
}

#[tokio::test]
async fn without_knox_s_table_it_says_which_is_missing() {
    for kind in KINDS {
        let Some(site) = Site::empty(kind).await else { continue };
        let message = refusal(&site).await;
        assert!(message.contains("no table `knox_authtoken`"), "{message}");
        site.run("CREATE TABLE knox_authtoken (id integer)").await;
        let message = refusal(&site).await;
        assert!(message.contains("no column `digest`"), "{message}");
    }
}

/// Seen to fail without the look at the columns of older versions: `no column` was all it said, and of
/// 4.2 nothing.
#[tokio::test]
async fn older_versions_are_refused_by_name_with_what_counts_their_rows() {
    for kind in KINDS {
        for (change, version) in [
            ("ALTER TABLE knox_authtoken ADD COLUMN salt varchar(16)", "3.x to 4.1"),
            ("ALTER TABLE knox_authtoken ADD COLUMN expires varchar(16)", "3.x to 4.1"),
            (
                "DROP INDEX knox_authtoken_token_key{on}; \
                 ALTER TABLE knox_authtoken DROP COLUMN token_key; \
                 ALTER TABLE knox_authtoken ADD COLUMN token_key varchar(8)",
                "4.2",
            ),
        ] {
            let Some(site) = Site::new(kind, false).await else { continue };
            let on = if kind == Kind::MySql { " ON knox_authtoken" } else { "" };
            site.run(&change.replace("{on}", on)).await;
            let message = refusal(&site).await;
            assert!(message.contains(&format!("django-rest-knox {version},")), "{message}");
            let (_, counting) = message.split_once("counts: ").unwrap();
            site.run(counting).await;
        }
    }
}

#[tokio::test]
async fn no_password_is_told() {
    for url in [
        "postgres://user:hunter2@127.0.0.1:1/db",
        "mysql://user:hunter2@127.0.0.1:1/db",
        "postgres://user:hunter2@[::bad/db",
        "other://user:hunter2@host/db",
        "sqlite:no/such/file",
        "no/such/file",
        "",
    ] {
        let error = tower_token_auth::KnoxStore::open(url).await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(!told.contains("hunter2"), "{told}");
        assert!(told.contains("Django database"), "{told}");
    }
}
