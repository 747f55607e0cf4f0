//! Rules of `insert` and `get`.

use std::collections::BTreeMap;

use super::{
    fixture::{
        add, added, digest_of, found, key, key_of, moment, ok, owner, record, refused, rule, same,
    },
    together,
};
use crate::{
    state::store::{contract::KeyRepository, error::StoreError},
    value::{
        key::{ApiKey, KeyId, Record},
        token::TokenKey,
    },
};

/// A key with everything set, in awkward characters.
pub(super) fn full_key(store: &impl KeyRepository, token: &str) -> ApiKey {
    let awkward = "'; DROP TABLE keys; -- \\ \" % _ \u{202e}naïve Ωμέγα 鍵 🔑 e\u{301}\n\t";
    let annotations = [("größe", "1"), ("empty", ""), ("quote", "\"'\\")];
    let annotations: BTreeMap<_, _> =
        annotations.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let can = store.capabilities();
    key(store, token)
        .with_token_key(TokenKey::of("tökén-ключ-鍵🔑-and-more"))
        .with_name("🔑".repeat(255))
        .with_description(Some(awkward.repeat(20)))
        .with_version(Some("1.0.0-beta.1+build"))
        .with_account(can.owners.then(|| "é".repeat(64).into()))
        .with_tags(["b", "a", "b", "", awkward])
        .with_annotations(annotations)
        .with_scopes(["write", "read", awkward].into_iter().filter(|_| can.scopes))
        .with_updated_at(moment(7))
        .with_expires_at(Some(moment(60 * 24 * 365 * 900)))
        .with_last_used_at(can.last_use.then(|| moment(8)))
        .with_active(!can.activation)
}

pub(super) async fn stored_as_given(store: &impl KeyRepository) {
    let can = store.capabilities();
    rule(store.capabilities() == can, "capabilities are the same at every call");
    for key in [key(store, "plain"), full_key(store, "full")] {
        let expected = record(key.clone());
        let stored = added(store, key.clone()).await;
        same(&stored, &expected, can);
        let id = stored.key().id();
        let made = if can.derived_ids { KeyId::of_digest(key.digest()) } else { key.id() };
        let said = "a key's id is the one that it was given, or made of its digest by capability";
        rule(!(can.metadata || can.derived_ids) || id == made, said);
        for again in
            [found(store.get(id).await, "get"), found(store.find(*key.digest()).await, "find")]
        {
            rule(again.key().id() == id, "a key keeps the id that `insert` answered");
            same(&again, &expected, can);
        }
    }
    let unknown = ok(store.get(KeyId::random()).await, "get");
    rule(unknown.is_none(), "`get` answers None for an id that is not there");
    // Names need not be unique, and an owner may have many keys.
    let twin = added(store, key(store, "twin").with_name("plain")).await;
    same(&twin, &record(key(store, "twin").with_name("plain")), no_ids(can));
}

/// To compare with a record whose random id is another.
fn no_ids(mut can: crate::state::store::Capabilities) -> crate::state::store::Capabilities {
    can.metadata = false;
    can
}

pub(super) async fn duplicates(store: &impl KeyRepository) {
    let can = store.capabilities();
    let first = added(store, key(store, "first")).await;
    let id = first.key().id();
    let same_digest = key_of(2, *first.key().digest()).with_name("same digest");
    let same_id = ApiKey::new(id, digest_of(store, "second"), 2.into(), moment(1));
    let mut all = vec![(same_digest, "digest"), (first.key().clone(), "id and digest")];
    if can.metadata && !can.derived_ids {
        all.push((same_id, "id"));
    }
    for (key, what) in all {
        let owner = owner(if key.owner_id().as_str() == "1" { 1 } else { 2 });
        let answer = store.insert(key, owner, None, &mut |_, _| true).await;
        let said = format!("`insert` refuses a {what} that is taken, as a duplicate");
        refused(answer, StoreError::is_duplicate, &said);
        same(&found(store.get(id).await, "get"), &first, can);
        same(&found(store.find(*first.key().digest()).await, "find"), &first, can);
    }
    let second = ok(store.find(digest_of(store, "second")).await, "find");
    rule(second.is_none(), "an insert that was refused leaves no key");
    if can.owners {
        let second = ok(store.owner(&2.into()).await, "owner");
        rule(second.is_none(), "an insert that was refused leaves no owner");
    }
}

pub(super) async fn judged(store: &impl KeyRepository) {
    let can = store.capabilities();
    let new = key(store, "judged");
    let mut asked = 0;
    let answer = store
        .insert(new.clone(), owner(1), None, &mut |owner, _| {
            asked += 1;
            rule(owner.id().as_str() == "1", "the judge sees the key's owner");
            false
        })
        .await;
    rule(asked > 0, "`insert` asks its judge");
    refused(
        answer,
        StoreError::is_not_applied,
        "an insert that the judge refuses is `not_applied`",
    );
    let key = ok(store.find(*new.digest()).await, "find");
    rule(key.is_none(), "an insert that the judge refused leaves no key");
    if can.owners {
        let owner = ok(store.owner(new.owner_id()).await, "owner");
        rule(owner.is_none(), "an insert that the judge refused leaves no owner");
    }
    added(store, new).await;
}

/// Dropped at any await point, an insert happened whole or not at all, and the store goes on.
pub(super) async fn dropped(store: &impl KeyRepository) {
    let can = store.capabilities();
    for polls in 0..24_u32 {
        let number = if can.owners { polls + 10 } else { 1 };
        let key = key_of(number, digest_of(store, &format!("dropped {polls}")));
        let expected = Record::new(key.clone(), owner(number));
        let mut yes = |_: &_, _: Option<&_>| true;
        together::drop_after(
            polls as usize,
            store.insert(key.clone(), owner(number), None, &mut yes),
        )
        .await;

        // A change that is made after it comes behind it: now it is settled.
        let next = record(super::fixture::key(store, &format!("next {polls}")));
        add(store, next).await;
        let stored = ok(store.find(*key.digest()).await, "find");
        if can.owners {
            let owner = ok(store.owner(key.owner_id()).await, "owner");
            let said = "a dropped insert happened whole or not at all";
            rule(owner.is_some() == stored.is_some(), said);
        }
        if let Some(stored) = stored {
            same(&stored, &expected, can);
        }
    }
}
