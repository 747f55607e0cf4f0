//! A table of tokens read row by row: all of them once, page by page, with what is wrong with some.

use std::{collections::BTreeSet, error::Error as _};

use tower_token_auth::{
    DigestAlgorithm, TokenDigest,
    store::{TokenTable, TokenTableKind},
};

use super::{issue, on_each};
use crate::support::site::{KINDS, Kind, Site};

/// The digests of all rows, those that can't be read as "?", in pages of two.
async fn all(table: &TokenTable) -> Vec<String> {
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = table.page(after.as_ref(), 2).await.unwrap();
        assert!(page.rows.len() <= 2 && read.len() < 20, "without an end");
        read.extend(page.rows.into_iter().map(|row| match row {
            Ok(record) => record.key().digest().to_hex(),
            Err(error) => {
                assert!(error.source().unwrap().to_string().starts_with("a row "), "{error}");
                "?".to_owned()
            }
        }));
        let Some(next) = page.next else { return read };
        assert_eq!(format!("{next:?}"), "TokenPlace", "it may be a token");
        after = Some(next);
    }
}

/// Seen to fail with `>=` for `>` (some rows come twice), and on SQLite without the look at the type of the
/// digest (one comes without an end).
#[tokio::test]
async fn every_row_is_read_once_and_in_order() {
    on_each(async |site, is_smarter| {
        let table = async || {
            let mut tables = Site::options().token_tables(&site.url).await.unwrap();
            assert_eq!(tables.len(), 1);
            tables.remove(0)
        };
        let kind = if is_smarter { TokenTableKind::Smarter } else { TokenTableKind::Knox };
        assert_eq!(table().await.kind(), kind);
        assert_eq!(all(&table().await).await, Vec::<String>::new());
        let digest = |at: u32| TokenDigest::of(DigestAlgorithm::Sha512, &at.to_string()).to_hex();
        let mut digests = BTreeSet::new();
        for at in 0..6 {
            issue(&site, is_smarter, &digest(at), "NULL").await;
            digests.insert(digest(at));
        }
        assert_eq!(all(&table().await).await, Vec::from_iter(digests.clone()));
        // Behind all others, whatever they are compared with.
        if site.kind == Kind::Sqlite {
            let columns = "created, user_id, expiry, token_key";
            site.run(&format!(
                "INSERT INTO knox_authtoken (digest, {columns}) SELECT x'616263', {columns} \
                 FROM knox_authtoken LIMIT 1"
            ))
            .await;
            assert_eq!(table().await.count().await.unwrap(), 7);
            assert_eq!(all(&table().await).await, Vec::from_iter(digests));
        } else {
            site.token(&"z".repeat(128), 1, "NULL").await;
            let read = all(&table().await).await;
            assert_eq!((read.len(), &*read[6]), (7, "?"));
            assert_eq!(table().await.count().await.unwrap(), 7);
        }
    })
    .await;
}

/// DRF's own, beside knox's or alone.
#[tokio::test]
async fn the_kind_is_found_by_the_tables() {
    for kind in KINDS {
        let Some(site) = Site::new(kind, false).await else { continue };
        site.users(&[1]).await;
        let moment = match kind {
            Kind::Sqlite | Kind::MySql => "datetime",
            Kind::Postgres => "timestamp with time zone",
        };
        let key = if kind == Kind::MySql { "`key`" } else { "\"key\"" };
        site.run(&format!(
            "CREATE TABLE authtoken_token ({key} varchar(40) NOT NULL PRIMARY KEY, \
             created {moment} NOT NULL, user_id integer NOT NULL)"
        ))
        .await;
        let at = site.at("2026-01-02 03:04:05");
        for token in ["one", "two", ""] {
            site.run(&format!("INSERT INTO authtoken_token VALUES ('{token}', {at}, 1)")).await;
        }
        let tables = Site::options().token_tables(&site.url).await.unwrap();
        let kinds: Vec<_> = tables.iter().map(TokenTable::kind).collect();
        assert_eq!(kinds, [TokenTableKind::Knox, TokenTableKind::Drf]);
        let hashed = |token| TokenDigest::of(DigestAlgorithm::Sha512, token).to_hex();
        assert_eq!(all(&tables[1]).await, ["?".into(), hashed("one"), hashed("two")]);

        site.run("DROP TABLE knox_authtoken").await;
        let tables = Site::options().token_tables(&site.url).await.unwrap();
        assert_eq!(tables[0].kind(), TokenTableKind::Drf);
        site.run("DROP TABLE authtoken_token").await;
        let told = Site::options().token_tables(&site.url).await.unwrap_err().to_string();
        assert!(told.contains("`knox_authtoken`") && told.contains("`authtoken_token`"), "{told}");
    }
}
