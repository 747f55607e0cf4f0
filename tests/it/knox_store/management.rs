//! What can be managed on each schema, and what is not supported there.

use std::time::Duration;

use tower_token_auth::{
    Authenticator, DigestAlgorithm, Issuing, KeyFilter, KeyManager, KeyUpdate, NewKey, Owner, Page,
    Record, Rotation, TokenDigest,
    store::{Family, KeyRepository as _, KeyStore as _, KeyWrite},
};

use super::on_each;
use crate::support::site::Site;

async fn manager(site: &Site) -> (Authenticator, KeyManager) {
    let (auth, _guard) = Authenticator::builder(site.store().await).build().unwrap();
    let keys = auth.keys();
    (auth, keys)
}

async fn digests(site: &Site, table: &str, column: &str) -> Vec<String> {
    let rows = site.texts(&format!("SELECT {column} FROM {table} ORDER BY 1")).await;
    rows.into_iter().flatten().collect()
}

/// A client of Smarter's that names the key.
async fn link(site: &Site, key: &Record) {
    let at = site.at("2026-01-02 03:04:05");
    site.run(&format!(
        "INSERT INTO llm_client_llmclientapikey (created_at, updated_at, api_key_id) \
         VALUES ({at}, {at}, '{}')",
        key.key().digest().to_hex()
    ))
    .await;
}

/// Seen to fail with the links left as they were.
#[tokio::test]
async fn a_rotation_ends_the_old_key_and_takes_its_links_along() {
    on_each(async |site, is_smarter| {
        let (auth, keys) = manager(&site).await;
        let (old, old_token) = keys.create("1", NewKey::default()).await.unwrap();
        if is_smarter {
            link(&site, &old).await;
        }
        let graceful = Rotation::with_grace(Duration::from_secs(60));
        let error = keys.rotate(old.id(), graceful).await.unwrap_err();
        assert!(error.is_unsupported(), "{error}");
        let (new, token) = keys.rotate(old.id(), Rotation::at_once()).await.unwrap();
        assert!(auth.authenticate(token.expose()).await.is_ok());
        assert!(auth.authenticate(old_token.expose()).await.is_err());
        let (old_hex, hex) = (old.key().digest().to_hex(), new.key().digest().to_hex());
        let rows = digests(&site, "knox_authtoken", "digest").await;
        if is_smarter {
            assert_eq!(rows.len(), 2);
            assert_eq!(new.name(), old.name());
            assert!(!keys.get(old.id()).await.unwrap().key().is_active());
            let links = digests(&site, "llm_client_llmclientapikey", "api_key_id").await;
            assert!(links == [hex.as_str()] && !links.contains(&old_hex), "they name the old key");
        } else {
            assert!(rows == [hex], "the old row stands");
        }
        assert!(keys.rotate(old.id(), Rotation::at_once()).await.is_err(), "it is over");
    })
    .await;
}

/// A rotation whose outcome nobody heard is undone, in one transaction: the old key is as it was, the new
/// one is inactive, and Smarter's clients name the old one again.
///
/// Seen to fail with the links left at the key that nobody has the token of.
#[tokio::test]
async fn a_rotation_that_is_undone_gives_the_links_back() {
    on_each(async |site, is_smarter| {
        if !is_smarter {
            return;
        }
        let (_, keys) = manager(&site).await;
        let (old, _) = keys.create("1", NewKey::default()).await.unwrap();
        let (other, _) = keys.create("1", NewKey::default()).await.unwrap();
        link(&site, &old).await;
        link(&site, &other).await;
        let (new, _) = keys.rotate(old.id(), Rotation::at_once()).await.unwrap();
        // As it is made good.
        let undone = [old.key().clone(), new.key().clone().with_active(false)];
        let mut plan = |family: &Family| {
            let row = undone.iter().find(|key| key.id() == family.key.id())?;
            Some(vec![KeyWrite::Update(row.clone())])
        };
        let store = site.store().await;
        for _ in 0..2 {
            store.change(&[old.id(), new.id()], None, &mut plan).await.unwrap();
            let mut named = [&old, &other].map(|record| record.key().digest().to_hex());
            named.sort_unstable();
            assert!(digests(&site, "llm_client_llmclientapikey", "api_key_id").await == named);
        }
        // To switch one off and another one on, one after the other, moves nothing.
        keys.deactivate(old.id()).await.unwrap();
        keys.activate(new.id()).await.unwrap();
        let named = digests(&site, "llm_client_llmclientapikey", "api_key_id").await;
        assert!(named.contains(&old.key().digest().to_hex()));
    })
    .await;
}

/// Seen to fail with the rows deleted in another order.
#[tokio::test]
async fn a_deletion_takes_all_rows() {
    on_each(async |site, is_smarter| {
        let (auth, keys) = manager(&site).await;
        let (stays, _) = keys.create("1", NewKey::default()).await.unwrap();
        let (goes, token) = keys.create("1", NewKey::default()).await.unwrap();
        if is_smarter {
            link(&site, &goes).await;
            link(&site, &stays).await;
        }
        let deleted = keys.delete(goes.id()).await.unwrap();
        assert_eq!(deleted.key(), goes.key());
        assert!(auth.authenticate(token.expose()).await.is_err());
        let left = [stays.key().digest().to_hex()];
        assert!(digests(&site, "knox_authtoken", "digest").await == left);
        if is_smarter {
            assert!(digests(&site, "drf_smarterauthtoken", "authtoken_ptr_id").await == left);
            assert!(digests(&site, "llm_client_llmclientapikey", "api_key_id").await == left);
        }
        assert!(keys.delete(goes.id()).await.unwrap_err().is_not_found());
    })
    .await;
}

/// As knox's own `logoutall/`: by whom a key lets in, and not by whose profile it is.
///
/// Seen to fail on Smarter's tables with every key deleted that the filter lists: other people's went, too.
#[tokio::test]
async fn all_that_let_a_user_in_are_deleted() {
    on_each(async |site, is_smarter| {
        site.users(&[2]).await;
        if is_smarter {
            site.profile(2, 2, 1).await;
        }
        let (past, never) = (site.at("2026-01-02 03:04:05"), "NULL".to_owned());
        let mut theirs = Vec::new();
        for (token, user, profile, is_active, expiry) in [
            ("expired", 1, 1, true, &past),
            ("of another's profile", 1, 2, true, &never),
            ("inactive", 1, 1, false, &never),
            ("of their profile, for another", 2, 1, true, &never),
            ("another's", 2, 2, true, &never),
        ] {
            let digest = TokenDigest::of(DigestAlgorithm::Sha512, token).to_hex();
            site.token(&digest, user, expiry).await;
            if is_smarter {
                site.key(&digest, profile, is_active).await;
            }
            theirs.extend((user == 2).then_some(digest));
        }
        theirs.sort_unstable();
        let (_, keys) = manager(&site).await;
        assert_eq!(keys.delete_all("1").await.unwrap(), 3);
        assert!(digests(&site, "knox_authtoken", "digest").await == theirs);
        if is_smarter {
            assert!(digests(&site, "drf_smarterauthtoken", "authtoken_ptr_id").await == theirs);
        }
        assert_eq!(keys.delete_all("1").await.unwrap(), 0);
        assert!(keys.on_behalf_of("1").delete_all("2").await.unwrap_err().is_forbidden());
    })
    .await;
}

#[tokio::test]
async fn plain_knox_does_what_its_columns_can_say() {
    on_each(async |site, is_smarter| {
        let (auth, keys) = manager(&site).await;
        let (key, token) = keys.create("1", NewKey::default()).await.unwrap();
        let id = key.id();
        let update = KeyUpdate::new().name("b");
        let answers = [
            keys.activate(id).await.map(drop),
            keys.deactivate(id).await.map(drop),
            keys.toggle_active(id).await.map(drop),
            keys.update(id, update).await.map(drop),
            keys.accessed(id).await.map(drop),
            keys.create("1", NewKey::default().active(false)).await.map(drop),
            keys.create("1", NewKey::named("a")).await.map(drop),
        ];
        for (number, answer) in answers.into_iter().enumerate() {
            let is_refused = answer.as_ref().is_err_and(|error| {
                let message = error.to_string();
                error.is_unsupported() && message.starts_with("not supported by this schema")
            });
            assert!(is_refused != is_smarter, "{number}: {answer:?}");
        }
        let scoped = keys.create("1", NewKey::default().scopes(["read"])).await.unwrap_err();
        assert!(scoped.is_unsupported() && scoped.to_string().contains("scopes"), "{scoped}");
        assert_eq!(keys.get(id).await.unwrap().id(), id);
        assert_eq!(keys.find_by_token(token.expose()).await.unwrap().id(), id);
        let listed = keys.list(KeyFilter::all().owner(1), Page::first(10)).await.unwrap();
        assert!(listed.keys.iter().any(|record| record.id() == id));
        let ended = keys.revoke_all("1").await.unwrap();
        assert_eq!(ended, if is_smarter { 2 } else { 1 });
        assert!(auth.authenticate(token.expose()).await.is_err());
    })
    .await;
}

/// Seen to fail without the look at the capability: plain knox's users were refused.
#[tokio::test]
async fn who_may_hold_a_key_is_each_schema_s_own_rule() {
    on_each(async |site, is_smarter| {
        site.user(2, true, false, false).await;
        site.user(3, false, true, false).await;
        if is_smarter {
            site.profile(2, 2, 1).await;
            site.profile(3, 3, 1).await;
        }
        let (_, keys) = manager(&site).await;
        let plain = keys.create("2", NewKey::default()).await;
        let inactive = keys.create("3", NewKey::default()).await;
        if is_smarter {
            let error = plain.unwrap_err();
            assert_eq!(error.to_string(), "API Keys can only be created for staff users.");
            assert!(inactive.is_ok());
        } else {
            assert!(plain.is_ok());
            assert!(inactive.unwrap_err().is_business_rule());
        }
        let builder = Authenticator::builder(site.store().await).issuing(Issuing::AnyActiveOwner);
        let (auth, _guard) = builder.build().unwrap();
        assert!(auth.keys().create("2", NewKey::default()).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_key_of_nobody_is_refused_and_nobody_is_made() {
    on_each(async |site, is_smarter| {
        let (_, keys) = manager(&site).await;
        for nobody in ["77", "07", "ada", "9223372036854775808"] {
            let error = keys.create(Owner::staff(nobody), NewKey::default()).await.unwrap_err();
            assert!(error.is_not_found(), "{error}");
            assert!(error.to_string().contains("owner"), "{error}");
        }
        assert!(keys.create_owner(Owner::staff(77)).await.unwrap_err().is_unsupported());
        assert_eq!(digests(&site, "auth_user", "username").await, ["user 1"]);
        if !is_smarter {
            return;
        }
        for (new, what) in [
            (NewKey::default().account("2"), "no profile in that account"),
            (NewKey::default().account("no number"), "no profile in that account"),
            (NewKey::default().version("one"), "semantic"),
        ] {
            let error = keys.create("1", new).await.unwrap_err();
            assert!(error.is_unsupported() && error.to_string().contains(what), "{error}");
        }
        site.account(2, "0000-0000-0002").await;
        site.profile(2, 1, 2).await;
        let error = keys.create("1", NewKey::default()).await.unwrap_err();
        assert!(error.to_string().contains("name the account"), "{error}");
        let (key, _) = keys.create("1", NewKey::default().account("2")).await.unwrap();
        let moved = KeyUpdate::new().account(Some("1"));
        let moved = keys.update(key.id(), moved).await.unwrap();
        assert_eq!(moved.key().account().unwrap().as_str(), "1");
        let out = keys.update(key.id(), KeyUpdate::new().account(None::<&str>)).await.unwrap_err();
        assert!(out.is_unsupported(), "{out}");
    })
    .await;
}

/// Smarter reads a key back by the first 15 characters of its token: two alike would be one.
///
/// Seen to fail without the look for another one.
#[tokio::test]
async fn two_tokens_that_begin_alike_are_not_issued_on_smarter() {
    on_each(async |site, is_smarter| {
        let store = site.store().await;
        let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
        let (key, token) = auth.keys().create("1", NewKey::default()).await.unwrap();
        let twin = format!("{}-another", &token.expose()[..15]);
        let digest = tower_token_auth::TokenDigest::of(store.digest_algorithm(), &twin);
        let twin = tower_token_auth::ApiKey::new(
            tower_token_auth::KeyId::random(),
            digest,
            "1".into(),
            key.key().created_at(),
        );
        let twin = twin.with_token_key(key.key().token_key().clone());
        let added = store.insert(twin, Owner::staff("1"), None, &mut |_, _| true).await;
        assert_eq!(added.is_err_and(|error| error.is_unsupported()), is_smarter);
    })
    .await;
}
