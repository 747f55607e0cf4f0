//! The dangerous column: what a database can hold of an expiry, and what becomes of it.

use tower_token_auth::{Authenticator, store::KeyStore as _};

use super::{TOKEN, digest, issue, on_each};
use crate::support::site::{Kind, Site};

/// What each database can hold that is no date, as SQL.
fn no_dates(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Sqlite => &[
            "''",
            "'never'",
            "'0000-00-00 00:00:00'",
            "1893456000",
            "1893456000.5",
            "2462503.5",
            "0",
            "'2030-01-02'",
            "'2030-01-02T03:04:05'",
            "'2030-01-02 03:04:05+00:00'",
            "x'00ff'",
            "'infinity'",
            "'2030-02-30 00:00:00'",
            "9e999",
        ],
        Kind::Postgres => &[
            "'infinity'",
            "'-infinity'",
            "'0044-03-15 12:00:00+00 BC'",
            "'10000-01-01 00:00:00+00'",
            "'294276-12-31 00:00:00+00'",
        ],
        Kind::MySql => &["'0000-00-00 00:00:00'", "'2030-00-00 00:00:00'", "'2030-01-00 00:00:00'"],
    }
}

/// Seen to fail, by an admission, with a text that can't be read taken for none; on PostgreSQL with
/// `to_char` alone, which makes NULL of infinity and a coming year of the year 44 BC.
#[tokio::test]
async fn what_is_no_date_is_never_admitted() {
    on_each(async |site, is_smarter| {
        let loose = match site.kind {
            Kind::MySql => "SET SESSION sql_mode = ''; ",
            Kind::Sqlite | Kind::Postgres => "",
        };
        issue(&site, is_smarter, &digest().to_hex(), "NULL").await;
        let store = site.store().await;
        let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
        for expiry in no_dates(site.kind) {
            site.run(&format!("{loose}UPDATE knox_authtoken SET expiry = {expiry}")).await;
            let error = store.find(digest()).await.unwrap_err();
            let why = std::error::Error::source(&error).unwrap().to_string();
            assert!(why.contains("column expiry"), "{expiry}: {why}");
            assert!(store.find_many(&[digest()]).await.is_err(), "{expiry}");
            auth.flush();
            let refused = auth.authenticate(TOKEN).await.unwrap_err();
            assert!(refused.kind().is_unavailable(), "{expiry}: {refused}");
        }
        site.run("UPDATE knox_authtoken SET expiry = NULL").await;
        auth.flush();
        assert!(auth.authenticate(TOKEN).await.is_ok());
    })
    .await;
}

/// Seen to fail with the zone of the options left aside.
#[tokio::test]
async fn local_times_are_read_in_the_zone_that_was_set() {
    on_each(async |site, is_smarter| {
        let expiry = site.at("2030-01-02 03:04:05.000006");
        issue(&site, is_smarter, &digest().to_hex(), &expiry).await;
        let east = chrono::FixedOffset::east_opt(2 * 3600).unwrap();
        let store = Site::options().time_zone(east).open(&site.url).await.unwrap();
        let found = store.find(digest()).await.unwrap().unwrap();
        let hour = match site.kind {
            Kind::Postgres => "03",
            Kind::Sqlite | Kind::MySql => "01",
        };
        let expected = format!("2030-01-02T{hour}:04:05.000006+00:00");
        assert_eq!(found.key().expires_at().unwrap().to_rfc3339(), expected);
    })
    .await;
}
