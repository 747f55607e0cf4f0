//! Rules about owners.

use super::{
    fixture::{
        add, add_owner, digest_of, found, key, key_of, moment, ok, refused, rule, same,
        update_owner,
    },
    together,
};
use crate::{
    state::store::{contract::KeyRepository, error::StoreError},
    value::{
        key::{ApiKey, KeyId, Record},
        owner::{Owner, OwnerId},
    },
};

const AWKWARD: &str = "O'Brien \"鍵\" 🔑 %_\\ naïve";

/// An owner with everything set.
fn full(id: impl Into<OwnerId>) -> Owner {
    Owner::new(id)
        .with_username(AWKWARD)
        .with_active(false)
        .with_staff(true)
        .with_superuser(true)
        .with_accounts(["b", "a", AWKWARD, &"é".repeat(64)])
}

pub(super) async fn made_by_insert(store: &impl KeyRepository) {
    let can = store.capabilities();
    let first = Record::new(key(store, "first"), full(1));
    add(store, first.clone()).await;
    let made = found(store.owner(&1.into()).await, "owner");
    rule(made == full(1), "`insert` makes the owner's row as it was given");

    // One that is there stays as it is, and it is the stored row that is judged.
    let second = key(store, "second");
    let mut seen = None;
    let answer = store
        .insert(second.clone(), Owner::new(1).with_username("another"), None, &mut |owner, _| {
            seen = Some(owner.clone());
            true
        })
        .await;
    same(&ok(answer, "insert"), &Record::new(second, full(1)), can);
    rule(seen == Some(full(1)), "the judge sees the stored owner, not the one passed in");
    let stored = found(store.owner(&1.into()).await, "owner");
    rule(stored == full(1), "`insert` leaves an owner that is there unchanged");
    same(&found(store.get(first.key().id()).await, "get"), &first, can);
}

pub(super) async fn inserted(store: &impl KeyRepository) {
    let nobody = ok(store.owner(&"nobody".into()).await, "owner");
    rule(nobody.is_none(), "`owner` answers None for an id that is not there");
    for owner in [full("é".repeat(64)), Owner::new("plain")] {
        ok(add_owner(store, owner.clone()).await, "change_owner");
        let stored = found(store.owner(owner.id()).await, "owner");
        rule(stored == owner, "an owner is stored as it was given");
    }
    let again = add_owner(store, full("plain")).await;
    refused(again, StoreError::is_not_applied, "an owner's edit that says no is `not_applied`");
    let stored = found(store.owner(&"plain".into()).await, "owner");
    rule(stored == Owner::new("plain"), "an edit that says no leaves the stored owner");
}

pub(super) async fn changed(store: &impl KeyRepository) {
    let can = store.capabilities();
    let key = key(store, "key");
    let id = key.owner_id().clone();
    add(store, Record::new(key.clone(), Owner::staff(1).with_accounts(["a", "b"]))).await;
    ok(add_owner(store, Owner::staff("bystander").with_accounts(["a"])).await, "change_owner");

    let staff = Owner::staff(1);
    let steps = [
        full(1),
        staff.clone().with_active(false),
        staff.clone().with_accounts(["b", "c"]),
        staff.clone().with_accounts(["c"]).with_staff(false),
        staff,
    ];
    let mut before = Owner::staff(1).with_accounts(["a", "b"]);
    for after in steps {
        let answer = update_owner(store, &id, &mut |seen| {
            rule(*seen == before, "an owner's edit sees the row as it stands");
            Some(after.clone())
        })
        .await;
        rule(ok(answer, "change_owner") == after, "`change_owner` answers the owner as it now is");
        let stored = found(store.owner(&id).await, "owner");
        rule(stored == after, "an owner is changed whole, memberships included");
        // The next read of each of its keys sees it.
        let expected = Record::new(key.clone(), after.clone());
        same(&found(store.find(*key.digest()).await, "find"), &expected, can);
        same(&found(store.get(key.id()).await, "get"), &expected, can);
        for record in ok(store.find_many(&[*key.digest()]).await, "find_many") {
            same(&record, &expected, can);
        }
        before = after;
    }
    let bystander = found(store.owner(&"bystander".into()).await, "owner");
    let unchanged = bystander == Owner::staff("bystander").with_accounts(["a"]);
    rule(unchanged, "a change of one owner leaves the others");
}

pub(super) async fn refusals(store: &impl KeyRepository) {
    let ada = full("ada");
    ok(add_owner(store, ada.clone()).await, "change_owner");
    let answer = update_owner(store, ada.id(), &mut |_| None).await;
    refused(answer, StoreError::is_not_applied, "an owner's edit that says no is `not_applied`");
    // Whether it is refused or left out, the id stays.
    let renamed = update_owner(store, ada.id(), &mut |_| Some(full("eve"))).await;
    drop(renamed);
    rule(found(store.owner(ada.id()).await, "owner") == ada, "an owner's id is never changed");
    let eve = ok(store.owner(&"eve".into()).await, "owner");
    rule(eve.is_none(), "an owner's id is never changed");
    let mut seen = Some(true);
    let mut edit = |stored: Option<&Owner>, _: Option<&Owner>| {
        seen = stored.map(|_| false);
        None
    };
    let answer = store.change_owner(&"nobody".into(), None, &mut edit).await;
    refused(answer, StoreError::is_not_applied, "an owner's edit that says no is `not_applied`");
    rule(seen.is_none(), "an edit sees no row where there is none");
    let nobody = ok(store.owner(&"nobody".into()).await, "owner");
    rule(nobody.is_none(), "an edit that says no makes no owner");
}

/// An owner's id is compared byte for byte, like a digest: keys hang on it.
pub(super) async fn told_apart(store: &impl KeyRepository) {
    let ids = ["ada", "Ada", "adá", "ada ", "ad\u{0061}\u{301}"];
    for (n, id) in ids.into_iter().enumerate() {
        let digest = digest_of(store, id);
        let key = ApiKey::new(KeyId::random(), digest, id.into(), moment(0));
        let owner = Owner::new(id).with_superuser(n == 0);
        add(store, Record::new(key, owner)).await;
    }
    for (n, id) in ids.into_iter().enumerate() {
        let record = found(store.find(digest_of(store, id)).await, "find");
        let right = record.owner().id().as_str() == id && record.owner().is_superuser() == (n == 0);
        rule(right, "owners' ids are compared byte for byte");
    }
}

pub(super) async fn at_once(store: &impl KeyRepository) {
    let id = OwnerId::from("joiner");
    ok(add_owner(store, Owner::new(&id)).await, "change_owner");
    let join = async |number: u32| {
        let mut edit = |owner: &Owner| {
            let accounts = owner.accounts().iter().cloned().chain([number.into()]);
            Some(owner.clone().with_accounts(accounts))
        };
        drop(ok(update_owner(store, &id, &mut edit).await, "change_owner"));
    };
    together::all((0..9).map(join)).await;
    let accounts = found(store.owner(&id).await, "owner").accounts().len();
    rule(accounts == 9, "edits of an owner at once each see the row as the one before left it");

    // Many first keys of one owner at once: one row is made.
    let issue = async |n: u32| {
        let digest = digest_of(store, &format!("first key {n}"));
        add(store, Record::new(key_of(7, digest), Owner::new(7))).await;
    };
    together::all((0..9).map(issue)).await;
    rule(found(store.owner(&7.into()).await, "owner") == Owner::new(7), "an owner is made once");
}

pub(super) async fn unsupported(store: &impl KeyRepository) {
    let said = "a store that keeps no owners says so: `unsupported`";
    let answer = add_owner(store, Owner::new("new")).await;
    refused(answer, StoreError::is_unsupported, said);
    let answer = update_owner(store, &1.into(), &mut |owner| Some(owner.clone())).await;
    refused(answer, StoreError::is_unsupported, said);
}
