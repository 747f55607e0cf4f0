//! Rules of `update` and `delete`.

use super::{
    fixture::{added, delete, digest_of, found, key, moment, ok, refused, rule, same, update},
    inserts::full_key,
    together,
    uses::used,
};
use crate::{
    state::store::{contract::KeyRepository, error::StoreError},
    value::{
        key::{ApiKey, KeyId, Record},
        token::TokenKey,
    },
};

pub(super) async fn updated(store: &impl KeyRepository) {
    let can = store.capabilities();
    let bystander = added(store, key(store, "bystander")).await;
    let first = added(store, key(store, "changed")).await;
    let id = first.key().id();
    let plain = first.key().clone();
    // Where owners are kept elsewhere, a key stays in the account that it was put into.
    let account = full_key(store, "changed").account().or(plain.account()).cloned();
    let full = full_key(store, "changed").with_account(account);
    // Everything set, and everything taken away again.
    for edited in [full.with_last_used_at(None).with_updated_at(moment(9)), plain] {
        let edited = edited.keeping_identity_of(first.key());
        let expected = Record::new(edited.clone(), first.owner().clone());
        let before = found(store.get(id).await, "get");
        let answer = update(store, id, &mut |seen| {
            same(seen, &before, can);
            Some(edited.clone())
        })
        .await;
        if !(can.metadata || can.activation) {
            return;
        }
        same(&ok(answer, "change"), &expected, can);
        same(&found(store.get(id).await, "get"), &expected, can);
        same(&found(store.find(*first.key().digest()).await, "find"), &expected, can);
    }
    same(&found(store.get(bystander.key().id()).await, "get"), &bystander, can);
}

pub(super) async fn identity(store: &impl KeyRepository) {
    let can = store.capabilities();
    if !(can.metadata || can.activation) {
        return;
    }
    let last_used = can.last_use.then(|| moment(3));
    let first = added(store, key(store, "one").with_last_used_at(last_used)).await;
    let id = first.key().id();
    let thief = ApiKey::new(id, digest_of(store, "other"), 2.into(), moment(99))
        .with_token_key(TokenKey::of("another"))
        .with_name(first.key().name())
        .with_account(first.key().account().cloned())
        .with_updated_at(first.key().updated_at())
        .with_last_used_at(None);
    let answer = ok(update(store, id, &mut |_| Some(thief.clone())).await, "change");
    let said = "a write changes no digest, token key, owner, created_at or last_used_at";
    for now in [answer, found(store.get(id).await, "get")] {
        let (a, b) = (now.key(), first.key());
        rule(a.id() == b.id() && a.digest() == b.digest(), said);
        rule(a.owner_id() == b.owner_id() && now.owner().id() == b.owner_id(), said);
        rule(a.created_at() == b.created_at(), said);
        rule(!can.last_use || a.last_used_at() == last_used, said);
        same(&now, &first, can);
    }
    rule(ok(store.find(*thief.digest()).await, "find").is_none(), said);
}

pub(super) async fn refusals(store: &impl KeyRepository) {
    let can = store.capabilities();
    let first = added(store, key(store, "one")).await;
    let id = first.key().id();
    let answer = update(store, id, &mut |_| None).await;
    if can.metadata || can.activation {
        refused(answer, StoreError::is_not_applied, "an edit that says no is `not_applied`");
    } else {
        rule(answer.is_err(), "an edit that says no changes nothing and is an error");
    }
    same(&found(store.get(id).await, "get"), &first, can);

    let mut asked = false;
    let nobody = KeyId::random();
    let answer = update(store, nobody, &mut |record| {
        asked = true;
        Some(record.key().clone())
    })
    .await;
    if can.metadata || can.activation {
        refused(answer, StoreError::is_not_found, "an update of no key is `not_found`");
    }
    rule(!asked, "an edit is not asked about a key that is not there");
    rule(ok(store.get(nobody).await, "get").is_none(), "an update makes no key");
}

/// Each edit sees the row as it stands: an odd number of toggles at once ends where one would.
pub(super) async fn at_once(store: &impl KeyRepository) {
    const TOGGLES: usize = 15;
    let can = store.capabilities();
    let id = added(store, key(store, "toggled").with_version(Some("0.0.0"))).await.key().id();
    let toggle = async || {
        let mut edit = |record: &Record| {
            let key = record.key().clone();
            let count = key.version().and_then(|text| text.strip_prefix("0.0.")?.parse().ok());
            let count: usize = count.unwrap_or_default();
            let is_active = key.is_active();
            Some(key.with_active(!is_active).with_version(Some(format!("0.0.{}", count + 1))))
        };
        update(store, id, &mut edit).await
    };
    let answers = together::all((0..TOGGLES).map(|_| toggle())).await;
    if !(can.metadata || can.activation) {
        return;
    }
    answers.into_iter().for_each(|answer| drop(ok(answer, "change")));
    let said = "edits at once each see the row as the one before left it";
    let last = found(store.get(id).await, "get");
    rule(!can.activation || !last.key().is_active(), said);
    rule(!can.metadata || last.key().version() == Some(&*format!("0.0.{TOGGLES}")), said);
}

/// A change and a use at once: neither undoes the other.
pub(super) async fn beside_uses(store: &impl KeyRepository) {
    let can = store.capabilities();
    let key = added(store, key(store, "used")).await.key().clone();
    let uses = [used(&key, moment(5), moment(5))];
    if !can.last_use {
        let said = "a store without last use says so: `record_uses` is `unsupported`";
        refused(store.record_uses(&uses).await, StoreError::is_unsupported, said);
        return;
    }
    rule(ok(store.record_uses(&uses).await, "record_uses") == 1, "a first use is written");
    if !can.metadata {
        return;
    }
    for minutes in [10, 20, 30] {
        let uses = [used(&key, moment(minutes), moment(minutes))];
        let change = async {
            let renamed = |record: &Record| Some(record.key().clone().with_name("renamed"));
            let mut renamed = renamed;
            ok(update(store, key.id(), &mut renamed).await, "change");
        };
        let write = async {
            ok(store.record_uses(&uses).await, "record_uses");
        };
        let both: [std::pin::Pin<Box<dyn Future<Output = ()>>>; 2] =
            [Box::pin(change), Box::pin(write)];
        together::all(both).await;
        let now = found(store.get(key.id()).await, "get");
        rule(now.key().last_used_at() == Some(moment(minutes)), "an update undoes no last use");
        rule(now.key().name() == "renamed", "a use undoes no update");
    }
}

pub(super) async fn deleted(store: &impl KeyRepository) {
    let can = store.capabilities();
    let stays = added(store, key(store, "stays")).await;
    let first = added(store, full_key(store, "goes")).await;
    let (id, digest) = (first.key().id(), *first.key().digest());
    let deleted = ok(delete(store, id).await, "change");
    same(&deleted, &first, can);
    let gone = ok(store.find(digest).await, "find").is_none();
    rule(gone && ok(store.get(id).await, "get").is_none(), "a deleted key is found no more");
    let many = ok(store.find_many(&[digest, *stays.key().digest()]).await, "find_many");
    rule(many.len() == 1, "a deleted key is found no more, and its neighbours are");
    same(&found(store.get(stays.key().id()).await, "get"), &stays, can);
    let again = delete(store, id).await;
    refused(again, StoreError::is_not_found, "to delete a key that is not there is `not_found`");
    // Neither the id nor the digest stays taken.
    let back = added(store, first.key().clone()).await;
    same(&back, &first, can);
}
