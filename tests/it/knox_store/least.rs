//! The least role that manages: the rights that the guide names suffice for every call, and each that is
//! missing is told by the name of its table.

use std::error::Error as _;

use chrono::{DateTime, Utc};
use tower_token_auth::{
    Authenticator, DigestAlgorithm, ImportedKey, KeyError, KeyFilter, KeyManager, KeyUpdate,
    NewKey, Page, Rotation, TokenDigest,
};

use super::rights::Role;
use crate::support::site::{Kind, Site};

const TOKENS: &str = "knox_authtoken";
const KEYS: &str = "drf_smarterauthtoken";
const LINKS: &str = "llm_client_llmclientapikey";
const OWNERS: &str = "auth_user";
const PROFILES: &str = "account_userprofile";
const ACCOUNTS: &str = "account_account";

/// What the guide names: each right, and on which table.
fn rights(kind: Kind, is_smarter: bool) -> Vec<(&'static str, &'static str)> {
    let mut rights = vec![
        ("SELECT", TOKENS),
        ("INSERT", TOKENS),
        ("UPDATE", TOKENS),
        ("DELETE", TOKENS),
        ("SELECT", OWNERS),
    ];
    if is_smarter {
        rights.extend(["SELECT", "INSERT", "UPDATE", "DELETE"].map(|right| (right, KEYS)));
        rights.extend(["SELECT", "UPDATE", "DELETE"].map(|right| (right, LINKS)));
        rights.extend([PROFILES, ACCOUNTS].map(|table| ("SELECT", table)));
    }
    if kind == Kind::Postgres {
        rights.push(("UPDATE (last_login)", OWNERS));
        if is_smarter {
            rights.push(("UPDATE (updated_at)", PROFILES));
        }
    }
    rights
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Every call of a manager's, on keys that were made by one who may do everything.
async fn calls(
    site: &Site,
    full: &KeyManager,
    keys: &KeyManager,
) -> Vec<(&'static str, Result<(), KeyError>)> {
    let made = async || full.create("1", NewKey::default()).await.unwrap();
    let (key, token) = made().await;
    let id = key.id();
    let mut calls = vec![
        ("get", keys.get(id).await.map(drop)),
        ("list", keys.list(KeyFilter::all(), Page::default()).await.map(drop)),
        ("find_by_token", keys.find_by_token(token.expose()).await.map(drop)),
        ("owner", keys.owner("1").await.map(drop)),
        ("create", keys.create("1", NewKey::default()).await.map(drop)),
        ("rotate", keys.rotate(id, Rotation::at_once()).await.map(drop)),
    ];
    let hex = TokenDigest::of(DigestAlgorithm::Sha512, token.expose()).to_hex();
    full.delete_all("1").await.unwrap();
    calls.push(("import", keys.import(ImportedKey::new(hex, "1")).await.map(drop)));
    let expiry = KeyUpdate::new().expires_at(Some(at("9999-01-01T00:00:00Z")));
    calls.push(("update", keys.update(made().await.0.id(), expiry).await.map(drop)));
    calls.push(("delete", keys.delete(made().await.0.id()).await.map(drop)));
    calls.push(("revoke_token", keys.revoke_token(made().await.1.expose()).await.map(drop)));
    made().await;
    calls.push(("revoke_all", keys.revoke_all("1").await.map(drop)));
    made().await;
    calls.push(("delete_all", keys.delete_all("1").await.map(drop)));
    made().await;
    let past = site.at("2026-01-02 03:04:05");
    site.run(&format!("UPDATE knox_authtoken SET expiry = {past}")).await;
    let then = at("2026-01-03T00:00:00Z");
    calls.push(("delete_expired", keys.delete_expired(then).await.map(drop)));
    calls.push(("deactivate_unused", keys.deactivate_unused(then).await.map(drop)));
    let id = made().await.0.id();
    calls.push(("accessed", keys.accessed(id).await.map(drop)));
    calls.push(("deactivate", keys.deactivate(id).await.map(drop)));
    calls.push(("activate", keys.activate(id).await.map(drop)));
    calls.push(("toggle_active", keys.toggle_active(id).await.map(drop)));
    calls
}

/// What a schema has no place for is no matter of rights.
fn failed(calls: Vec<(&'static str, Result<(), KeyError>)>) -> Vec<(&'static str, KeyError)> {
    let failed = calls.into_iter().filter_map(|(call, done)| Some((call, done.err()?)));
    failed.filter(|(_, error)| error.source().is_some()).collect()
}

/// Each right is its own control: without it, some call fails.
#[tokio::test]
async fn the_rights_that_the_guide_names_suffice_and_each_is_needed() {
    for (kind, is_smarter) in
        [(Kind::Postgres, false), (Kind::Postgres, true), (Kind::MySql, false), (Kind::MySql, true)]
    {
        let Some(site) = Site::new(kind, is_smarter).await else { continue };
        site.users(&[1]).await;
        if is_smarter {
            site.account(1, "1").await;
            site.profile(1, 1, 1).await;
        }
        let role = Role::on(&site).await;
        let rights = rights(kind, is_smarter);
        for (right, table) in &rights {
            role.grant(&format!("{right} ON {table}")).await;
        }
        // On MySQL nothing tells a role which may not see a table from one without it.
        let is_blind = kind == Kind::MySql && !is_smarter;
        let options =
            || if is_blind { Site::options().insecure_assume_plain() } else { Site::options() };
        let (all, _all) = Authenticator::builder(site.store().await).build().unwrap();
        let manage = async || {
            let store = options().open(&role.url).await?;
            let (auth, _guard) = Authenticator::builder(store.clone()).build().unwrap();
            let failed = failed(calls(&site, &all.keys(), &auth.keys()).await);
            drop(auth);
            store.close().await;
            Ok::<_, tower_token_auth::store::StoreError>(failed)
        };
        let failed = manage().await.unwrap();
        assert!(failed.is_empty(), "{kind:?}, Smarter: {is_smarter}: {failed:?}");
        for (right, table) in rights {
            let shown = format!("{kind:?}, Smarter: {is_smarter}, without {right} on {table}");
            role.revoke(&format!("{right} ON {table}")).await;
            match manage().await {
                Err(error) => {
                    let told = error.to_string();
                    assert_eq!(right, "SELECT", "{shown}: {told}");
                    assert!(told.contains(table) && told.contains("SELECT"), "{shown}: {told}");
                }
                Ok(failed) => {
                    assert!(!failed.is_empty(), "{shown}: it is not needed");
                    for (call, error) in failed {
                        let told = error.to_string();
                        assert!(error.is_unsupported(), "{shown}: {call}: {error:?}");
                        assert!(told.contains(table), "{shown}: {call}: {told}");
                    }
                }
            }
            role.grant(&format!("{right} ON {table}")).await;
        }
        role.drop().await;
    }
}
