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

/// Smarter's table by another name than the site's is no plain knox.
///
/// Seen to fail without the look at `is_smarter` in `discover`.
#[tokio::test]
async fn a_table_of_keys_that_was_named_has_to_be_there() {
    super::on_each(async |site, _| {
        let options = Site::options().key_table("drf_smarterauthtokens").unwrap();
        let refused = options.open(&site.url).await.unwrap_err().to_string();
        assert!(refused.contains("drf_smarterauthtokens"), "{refused}");
        assert!(refused.contains("KnoxOptions::key_table"), "{refused}");
    })
    .await;
}

/// A server whose sessions do not commit by themselves: ours do, and a pool of the user's that does not is
/// refused, as each of its connections would go on to read what stood at first.
///
/// Seen to fail without the look at it in `is_fit`. What `pool` sets shows itself on a server that is set so
/// for everybody alone.
#[tokio::test]
async fn connections_that_do_not_commit_are_set_right_or_refused() {
    use sqlx::mysql::MySqlPoolOptions;
    use tower_token_auth::store::KeyStore as _;

    let Some(site) = Site::new(crate::support::site::Kind::MySql, false).await else { return };
    site.users(&[1]).await;
    super::issue(&site, false, &super::digest().to_hex(), "NULL").await;
    let pool = MySqlPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move {
            let set =
                "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), autocommit = 0";
            sqlx::raw_sql(set).execute(connection).await.map(drop)
        })
    });
    let pool = pool.connect(&site.url).await.unwrap();
    let refused = Site::options().from_mysql_pool(pool).await.unwrap_err().to_string();
    assert!(refused.contains("set autocommit to 1"), "{refused}");
    let store = site.store().await;
    assert!(store.find(super::digest()).await.unwrap().is_some());
    site.run("DELETE FROM knox_authtoken").await;
    assert!(store.find(super::digest()).await.unwrap().is_none());
}

/// As PgBouncer refuses what it does not know.
///
/// Seen to fail without the words in `advice`.
#[tokio::test]
async fn a_pooler_that_refuses_is_told_from_a_server() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pooler = async {
        let (mut client, _) = listener.accept().await.unwrap();
        assert!(client.read(&mut [0; 1_024]).await.unwrap() > 0);
        let said = "SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: extra_float_digits\0\0";
        let length = u32::try_from(said.len() + 4).unwrap();
        client.write_all(b"E").await.unwrap();
        client.write_all(&length.to_be_bytes()).await.unwrap();
        client.write_all(said.as_bytes()).await.unwrap();
    };
    let url = format!("postgres://user:hunter2@127.0.0.1:{port}/db?sslmode=disable");
    let (opened, ()) = tokio::join!(tower_token_auth::KnoxStore::open(&url), pooler);
    let message = opened.unwrap_err().to_string();
    assert!(message.contains("session mode") && !message.contains("hunter2"), "{message}");
}
