//! User models of a site's own.

use tower_token_auth::{
    Authenticator, KeyFilter, KeyUpdate, NewKey, Page,
    store::{KeyRepository as _, KeyStore as _},
};

use crate::support::site::{KINDS, Kind, Site};

const UUID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

/// Tables of other names, users known by an e-mail address and a key of this type.
async fn site_of(kind: Kind, id_type: &str, id: &str) -> Option<Site> {
    let site = Site::empty(kind).await?;
    let time = match kind {
        Kind::Sqlite => "datetime",
        Kind::Postgres => "timestamp with time zone",
        Kind::MySql => "datetime(6)",
    };
    site.run(&format!(
        "CREATE TABLE people (uid {id_type} NOT NULL PRIMARY KEY, email varchar(150) NOT NULL, \
         is_active boolean NOT NULL); \
         CREATE TABLE our_tokens (digest varchar(128) NOT NULL PRIMARY KEY, created {time} NOT NULL, \
         user_id {id_type} NOT NULL, expiry {time} NULL, token_key varchar(25) NOT NULL, \
         FOREIGN KEY (user_id) REFERENCES people (uid)); \
         INSERT INTO people VALUES ({id}, 'ada@example.com', true)"
    ))
    .await;
    Some(site)
}

/// Seen to fail on PostgreSQL with the ids bound as plain text.
#[tokio::test]
async fn ids_of_each_kind_are_told_and_bound_alike() {
    for kind in KINDS {
        let (uuid, uuid_literal) = match kind {
            Kind::Postgres => ("uuid", format!("'{UUID}'")),
            Kind::Sqlite | Kind::MySql => ("char(32)", format!("'{}'", UUID.replace('-', ""))),
        };
        let text = "varchar(40)";
        for (id_type, literal, id) in [
            ("integer", "7".to_owned(), "7"),
            ("bigint", "9007199254740993".to_owned(), "9007199254740993"),
            (uuid, uuid_literal, UUID),
            (text, "'ada''s'".to_owned(), "ada's"),
        ] {
            let Some(site) = site_of(kind, id_type, &literal).await else { continue };
            let options = Site::options().token_table("our_tokens").unwrap();
            let options = options.owner_table("people").unwrap().owner_id_column("uid").unwrap();
            let options = options.username_column("email").unwrap();
            let store = options.open(&site.url).await.unwrap();
            let owner = store.owner(&id.into()).await.unwrap().unwrap();
            assert_eq!((owner.id().as_str(), owner.username()), (id, "ada@example.com"));
            assert!(owner.is_active() && !owner.is_staff() && !owner.is_superuser());
            let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
            let (key, token) = auth.keys().create(id, NewKey::default()).await.unwrap();
            assert_eq!(key.owner().id().as_str(), id);
            let found = auth.authenticate(token.expose()).await.unwrap();
            assert_eq!(found.owner().id().as_str(), id);
            let filter = KeyFilter::all().owner(id).readable_by(id);
            let listed = auth.keys().list(filter, Page::first(5)).await.unwrap();
            assert_eq!(listed.keys.len(), 1, "{kind:?} {id_type}");
            let soon = key.key().created_at() + chrono::TimeDelta::days(1);
            let update = KeyUpdate::new().expires_at(Some(soon));
            let updated = auth.keys().on_behalf_of(id).update(key.id(), update).await.unwrap();
            assert_eq!(updated.key().expires_at(), Some(soon));
            assert_eq!(auth.keys().on_behalf_of(id).revoke_all(id).await.unwrap(), 1);
            assert!(store.find(*key.key().digest()).await.unwrap().is_none());
        }
    }
}

/// Seen to fail without the comparison: the integers of one table named rows of another.
#[tokio::test]
async fn users_of_another_kind_than_the_tokens_name_are_refused() {
    for kind in KINDS {
        let Some(site) = Site::new(kind, false).await else { continue };
        site.run(
            "CREATE TABLE people (id varchar(40) NOT NULL PRIMARY KEY, \
             username varchar(9), is_active boolean)",
        )
        .await;
        let options = Site::options().owner_table("people").unwrap();
        let error = options.open(&site.url).await.unwrap_err().to_string();
        assert!(error.contains("KnoxOptions::owner_table"), "{error}");
    }
}
