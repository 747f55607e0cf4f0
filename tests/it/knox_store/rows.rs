//! Rows that are written, as Django's own columns keep them.

use tower_token_auth::{Authenticator, KeyUpdate, NewKey};

use super::on_each;
use crate::support::site::Kind;

/// The columns of a key as texts, each with its storage class on SQLite.
async fn columns(site: &crate::support::site::Site, table: &str, columns: &[&str]) -> Vec<String> {
    let mut told = Vec::new();
    for column in columns {
        let sql = match site.kind {
            Kind::Sqlite => format!("SELECT typeof({column}) || ' ' || {column} FROM {table}"),
            Kind::Postgres => format!("SELECT CAST({column} AS text) FROM {table}"),
            Kind::MySql => format!("SELECT CAST({column} AS CHAR) FROM {table}"),
        };
        told.push(site.text(&sql).await.unwrap_or_else(|| "NULL".into()));
    }
    told
}

/// Seen to fail on SQLite with a UUID bound with its dashes, and with flags as `true` and `false`.
#[tokio::test]
async fn every_column_holds_what_django_writes() {
    on_each(async |site, is_smarter| {
        let store = site.store().await;
        let (auth, _guard) = Authenticator::builder(store).build().unwrap();
        let mut new = NewKey::default().expires_at("2030-01-02T03:04:05.06Z".parse().unwrap());
        if is_smarter {
            new = new.name("a_key").tags(["a", "b"]).annotation("c", "d").version("1.2.3");
        }
        let (record, token) = auth.keys().create("1", new).await.unwrap();
        let key = record.key();
        let own = columns(&site, "knox_authtoken", &["digest", "token_key", "user_id"]).await;
        let (digest, token_key) = (key.digest().to_hex(), token.expose()[..15].to_owned());
        assert!(own[0].ends_with(&digest) && own[1].ends_with(&token_key), "not as it was made");
        let times = columns(&site, "knox_authtoken", &["created", "expiry"]).await;
        match site.kind {
            Kind::Sqlite => {
                assert_eq!(own[2], "integer 1");
                assert_eq!(times[1], "text 2030-01-02 03:04:05.060000");
                let created = key.created_at().format("text %Y-%m-%d %H:%M:%S%.6f");
                assert_eq!(times[0], created.to_string());
            }
            Kind::Postgres => assert_eq!(times[1], "2030-01-02 03:04:05.06+00"),
            Kind::MySql => assert_eq!(times[1], "2030-01-02 03:04:05.060000"),
        }
        if !is_smarter {
            return;
        }
        assert!(auth.keys().accessed(record.id()).await.unwrap());
        let names = ["key_id", "is_active", "tags", "annotations", "user_profile_id", "version"];
        let own = columns(&site, "drf_smarterauthtoken", &names).await;
        let id = *record.id().as_uuid();
        let expected = match site.kind {
            Kind::Sqlite => [
                format!("text {}", id.simple()),
                "integer 1".into(),
                r#"text ["a","b"]"#.into(),
                r#"text [{"c":"d"}]"#.into(),
                "integer 1".into(),
                "text 1.2.3".into(),
            ],
            Kind::Postgres => [
                id.to_string(),
                "true".into(),
                r#"["a", "b"]"#.into(),
                r#"[{"c": "d"}]"#.into(),
                "1".into(),
                "1.2.3".into(),
            ],
            Kind::MySql => [
                id.to_string(),
                "1".into(),
                r#"["a","b"]"#.into(),
                r#"[{"c":"d"}]"#.into(),
                "1".into(),
                "1.2.3".into(),
            ],
        };
        assert_eq!(own, expected);
        let times = ["created_at", "updated_at", "last_used_at"];
        for time in columns(&site, "drf_smarterauthtoken", &times).await {
            let digits = time.trim_start_matches("text ").get(..2);
            assert_eq!(digits, Some("20"), "{time}");
        }
    })
    .await;
}

/// Smarter keeps other shapes than this crate does, and has them back as they were.
///
/// Seen to fail with every column written on an update.
#[tokio::test]
async fn what_an_update_does_not_give_stays_as_it_is() {
    on_each(async |site, is_smarter| {
        if !is_smarter {
            return;
        }
        let (auth, _guard) = Authenticator::builder(site.store().await).build().unwrap();
        let (key, _) = auth.keys().create("1", NewKey::named("a_key")).await.unwrap();
        site.run(
            r#"UPDATE drf_smarterauthtoken SET tags = '["x", 7]', annotations = '[{"a": {"b": [1]}}]'"#,
        )
        .await;
        let update = KeyUpdate::new().name("b_key").expires_at(None);
        let updated = auth.keys().update(key.id(), update).await.unwrap();
        assert_eq!(updated.name(), "b_key");
        assert_eq!(updated.key().tags().collect::<Vec<_>>(), ["x", "7"]);
        let own = columns(&site, "drf_smarterauthtoken", &["tags", "annotations"]).await;
        let own: Vec<&str> = own.iter().map(|text| text.trim_start_matches("text ")).collect();
        assert_eq!(own, [r#"["x", 7]"#, r#"[{"a": {"b": [1]}}]"#], "{:?}", site.kind);
    })
    .await;
}

/// A version that Smarter itself would not save, written by whoever did: it keeps no key from being ended.
///
/// Seen to fail with the version looked at whether it is changed or not.
#[tokio::test]
async fn a_version_of_another_shape_keeps_no_key_from_being_ended() {
    on_each(async |site, is_smarter| {
        if !is_smarter {
            return;
        }
        super::issue(&site, true, &super::digest().to_hex(), "NULL").await;
        site.run("UPDATE drf_smarterauthtoken SET version = 'v1'").await;
        let (auth, _guard) = Authenticator::builder(site.store().await).build().unwrap();
        let key = auth.authenticate(super::TOKEN).await.unwrap();
        let renamed = auth.keys().update(key.id(), KeyUpdate::default().version(Some("v2"))).await;
        assert!(renamed.is_err());
        auth.keys().deactivate(key.id()).await.unwrap();
        let refused = auth.authenticate(super::TOKEN).await.unwrap_err();
        assert_eq!(refused.kind(), tower_token_auth::RejectionKind::KeyInactive);
    })
    .await;
}
