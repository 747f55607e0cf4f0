//! The dangerous column: what a database can hold of an expiry, and what becomes of it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use tower_token_auth::{
    Authenticator, DigestAlgorithm, KeyFilter, KeyId, Page, Record, TokenDigest,
    store::KeyStore as _,
};

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
        Kind::MySql => &[
            "'0000-00-00 00:00:00'",
            "'2030-00-00 00:00:00'",
            "'2030-01-00 00:00:00'",
            "'2030-02-30 00:00:00'",
            "'0000-01-01 00:00:00'",
        ],
    }
}

/// Seen to fail, by an admission, with a text that can't be read taken for none; on PostgreSQL with
/// `to_char` alone, which makes NULL of infinity and a coming year of the year 44 BC.
#[tokio::test]
async fn what_is_no_date_is_never_admitted() {
    on_each(async |site, is_smarter| {
        let loose = match site.kind {
            Kind::MySql => "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'; ",
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

/// One row with such an expiry holds up no other: it is listed as one that has expired long ago, does not
/// count against a limit, and goes with whatever is ended or cleaned up. Others stay, with the expiries
/// that they have.
///
/// Seen to fail with such an expiry taken for an error where keys are listed; and at the clean-up and the
/// count, on each database, without `comparable_expiry`.
#[tokio::test]
async fn what_is_no_date_holds_up_no_other_row() {
    on_each(async |site, is_smarter| {
        let loose = match site.kind {
            Kind::MySql => "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'; ",
            Kind::Sqlite | Kind::Postgres => "",
        };
        let hex = |token: &str| TokenDigest::of(DigestAlgorithm::Sha512, token).to_hex();
        let (first, last) = (site.at("2000-01-01 00:00:00"), site.at("9999-12-31 23:59:59.5"));
        for (token, expiry) in
            [("past", &*first), ("far", &last), ("never", "NULL"), (TOKEN, "NULL")]
        {
            issue(&site, is_smarter, &hex(token), expiry).await;
        }
        let store = site.store().await;
        let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
        let keys = auth.keys();
        let bad = store.find(digest()).await.unwrap().unwrap().id();
        let now: DateTime<Utc> = "2026-01-02T03:04:05Z".parse().unwrap();
        let listed = async |filter: KeyFilter| -> BTreeSet<KeyId> {
            let page = keys.list(filter, Page::first(10)).await.unwrap();
            page.keys.iter().map(Record::id).collect()
        };
        let lasting = listed(KeyFilter::all().expires_from(now)).await;
        assert_eq!(lasting.len(), 3);
        for expiry in no_dates(site.kind) {
            site.run(&format!(
                "{loose}UPDATE knox_authtoken SET expiry = {expiry} WHERE digest = '{}'",
                hex(TOKEN)
            ))
            .await;
            assert_eq!(listed(KeyFilter::all().owner(1)).await.len(), 4, "{expiry}");
            let expired = keys.get(bad).await.unwrap();
            assert_eq!(expired.key().expires_at(), Some(DateTime::UNIX_EPOCH), "{expiry}");
            let others = listed(KeyFilter::all().expires_from(now)).await;
            assert_eq!((others.len(), others.contains(&bad)), (2, false), "{expiry}");
            let expired = listed(KeyFilter::all().expires_before(now)).await;
            assert_eq!((expired.len(), expired.contains(&bad)), (2, true), "{expiry}");
            assert!(store.find(digest()).await.is_err(), "{expiry}");
        }
        assert_eq!(keys.delete_expired(now).await.unwrap(), 2);
        assert_eq!(listed(KeyFilter::all()).await.len(), 2);

        issue(&site, is_smarter, &hex(TOKEN), "NULL").await;
        let end = no_dates(site.kind)[0];
        site.run(&format!("{loose}UPDATE knox_authtoken SET expiry = {end}")).await;
        let ended = keys.revoke_all("1").await.unwrap();
        assert_eq!(ended, 3);
        assert_eq!(keys.delete_all("1").await.unwrap(), if is_smarter { 3 } else { 0 });
    })
    .await;
}

/// The conditions of a listing take for a date what the reader takes for one, text by text.
///
/// Seen to fail without `comparable_expiry`, and at 24 hours, which SQLite's own function takes.
#[tokio::test]
async fn a_listing_and_a_reader_agree_what_a_date_is() {
    let site = Site::new(Kind::Sqlite, false).await.unwrap();
    site.users(&[1]).await;
    issue(&site, false, &digest().to_hex(), "NULL").await;
    let store = site.store().await;
    let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
    for expiry in [
        "2030-01-02 03:04:05",
        "2030-01-02 03:04:05.5",
        "2030-01-02 03:04:05.123456",
        "2028-02-29 00:00:00",
        "2030-02-29 00:00:00",
        "2030-01-02 03:04:05.",
        "2030-01-02 03:04:05.1234567",
        "2030-01-02 03:04:05.-1",
        "2030-01-02 03:04:05.5Z",
        "2030-01-02 03:04:05,5",
        "2030-01-02 24:00:00",
        "2030-01-02 23:59:60",
        "2030-13-01 00:00:00",
        "2030-00-01 00:00:00",
        "0000-01-01 00:00:00",
        "0001-01-01 00:00:00",
        "2030-01-02 03:04:05 ",
        "2030-01-02 03:04:5",
        "now",
        "12030-01-02 03:04:05",
        "-030-01-02 03:04:05",
        "２０３０-01-02 03:04:05",
    ] {
        site.run(&format!("UPDATE knox_authtoken SET expiry = '{expiry}'")).await;
        let is_read = store.find(digest()).await.is_ok();
        let before = KeyFilter::all().expires_before("1970-01-01T00:00:01Z".parse().unwrap());
        let is_past = !auth.keys().list(before, Page::default()).await.unwrap().keys.is_empty();
        assert_eq!(is_past, !is_read || expiry.starts_with("0001"), "{expiry}");
    }
    let nul = "CAST('2030-01-02 03:04:05' || x'00' AS TEXT)";
    site.run(&format!("UPDATE knox_authtoken SET expiry = {nul}")).await;
    assert!(store.find(digest()).await.is_err());
    let lasting = KeyFilter::all().expires_from("2026-01-02T03:04:05Z".parse().unwrap());
    assert!(auth.keys().list(lasting, Page::default()).await.unwrap().keys.is_empty());
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
