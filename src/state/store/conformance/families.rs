//! Rules of `change` about relatives, several keys at once, and callers.

use super::{
    fixture::{add_owner, added, digest_of, found, key, moment, ok, owner, refused, rule},
    together,
};
use crate::{
    state::store::{
        contract::{Family, KeyRepository, KeyWrite},
        error::StoreError,
    },
    value::{
        key::{ApiKey, KeyId, Record},
        owner::{Owner, OwnerId},
    },
};

/// What replaces `old` in these tests.
fn successor_of(store: &impl KeyRepository, old: &ApiKey, token: &str) -> ApiKey {
    key(store, token).with_predecessor(Some(old.id()))
}

/// Inserts `new` in the transaction that sees `id`.
async fn replace(
    store: &impl KeyRepository,
    id: KeyId,
    new: &ApiKey,
) -> Result<Vec<Record>, StoreError> {
    let mut plan = |family: &Family| {
        let old = family.key.key().clone().with_expires_at(Some(moment(5)));
        Some(vec![KeyWrite::Update(old), KeyWrite::Insert(new.clone())])
    };
    store.change(&[id], None, &mut plan).await
}

async fn family(store: &impl KeyRepository, id: KeyId) -> Family {
    let mut seen = None;
    let mut plan = |family: &Family| {
        seen = Some(family.clone());
        Some(Vec::new())
    };
    let written = ok(store.change(&[id], None, &mut plan).await, "change");
    rule(written.is_empty(), "a plan that writes nothing answers with no rows");
    seen.unwrap_or_else(|| panic!("the store's `change` does not ask about a key that is there"))
}

pub(super) async fn relatives(store: &impl KeyRepository) {
    let first = added(store, key(store, "first")).await.key().clone();
    let alone = family(store, first.id()).await;
    rule(alone.predecessor.is_none() && alone.successor.is_none(), "a key may have no relatives");
    let second = successor_of(store, &first, "second");
    let written = ok(replace(store, first.id(), &second).await, "change");
    let ids: Vec<_> = written.iter().map(Record::id).collect();
    rule(ids == [first.id(), second.id()], "`change` answers with its rows in their order");
    let third = successor_of(store, &second, "third");
    ok(replace(store, second.id(), &third).await, "change");

    let seen = family(store, second.id()).await;
    let said = "a family holds the key that was replaced and the one that replaced it, as stored";
    rule(seen.predecessor.is_some_and(|key| key.expires_at() == Some(moment(5))), said);
    rule(seen.successor.is_some_and(|key| key.id() == third.id()), said);
    rule(seen.caller.is_none(), "a family has no caller where none was named");

    // Nobody is replaced twice.
    let rival = successor_of(store, &first, "rival");
    let answer = replace(store, first.id(), &rival).await;
    refused(answer, StoreError::is_duplicate, "a second successor of one key is a `duplicate`");
    rule(ok(store.get(rival.id()).await, "get").is_none(), "a refused change writes nothing");

    // A predecessor that is gone is named still, and seen no more.
    let mut plan = |family: &Family| Some(vec![KeyWrite::Delete(family.key.id())]);
    ok(store.change(&[first.id()], None, &mut plan).await, "change");
    let seen = family(store, second.id()).await;
    rule(seen.predecessor.is_none(), "a predecessor that was deleted is seen no more");
    rule(seen.key.key().predecessor() == Some(first.id()), "a key names its predecessor for good");
}

/// Of many replacements at once, each of which looks first, one is made.
pub(super) async fn one_successor(store: &impl KeyRepository) {
    let old = added(store, key(store, "old")).await.key().clone();
    let rotate = async |n: u32| {
        let new = successor_of(store, &old, &format!("new {n}"));
        let mut plan = |family: &Family| {
            family.successor.is_none().then(|| vec![KeyWrite::Insert(new.clone())])
        };
        store.change(&[old.id()], None, &mut plan).await.is_ok()
    };
    let made = together::all((0..9).map(rotate)).await;
    let made = made.into_iter().filter(|made| *made).count();
    rule(made == 1, "of changes at once, one finds no successor and makes one");
}

pub(super) async fn several(store: &impl KeyRepository) {
    let keys = ["a", "b", "c"].map(|token| key(store, token));
    let mut ids = Vec::new();
    for key in &keys {
        ids.push(added(store, key.clone()).await.key().id());
    }
    // One that is not there among them, and one that the plan takes away before its turn.
    let (gone, [a, b, c]) = (KeyId::random(), [ids[0], ids[1], ids[2]]);
    let mut asked = Vec::new();
    let mut plan = |family: &Family| {
        let id = family.key.id();
        asked.push(id);
        Some(if id == b { vec![KeyWrite::Delete(a), KeyWrite::Delete(b)] } else { Vec::new() })
    };
    let written = ok(store.change(&[gone, b, a, c], None, &mut plan).await, "change");
    rule(asked == [b, c], "ids that are not there, or no longer, are passed over");
    rule(written.len() == 2, "`change` answers with each row that it wrote");
    rule(ok(store.get(a).await, "get").is_none(), "a plan may write any key");

    // A no to one undoes the others.
    let d = added(store, key(store, "d")).await.key().id();
    let mut plan =
        |family: &Family| (family.key.id() != d).then(|| vec![KeyWrite::Delete(family.key.id())]);
    let answer = store.change(&[c, d], None, &mut plan).await;
    refused(answer, StoreError::is_not_applied, "a plan that says no is `not_applied`");
    rule(ok(store.get(c).await, "get").is_some(), "a no to one key undoes what was decided before");

    // So does a write that is refused.
    let taken = key(store, "c");
    let mut plan = |family: &Family| {
        Some(vec![KeyWrite::Delete(family.key.id()), KeyWrite::Insert(taken.clone())])
    };
    let answer = store.change(&[d], None, &mut plan).await;
    refused(answer, StoreError::is_duplicate, "to insert a digest that is taken is a `duplicate`");
    rule(ok(store.get(d).await, "get").is_some(), "a refused write undoes those before it");
    let mut plan = |_: &Family| Some(Vec::new());
    let answer = store.change(&[gone], None, &mut plan).await;
    refused(answer, StoreError::is_not_found, "a change of no key at all is `not_found`");
}

/// The caller is looked up by each kind of change, as stored at that moment.
pub(super) async fn callers(store: &impl KeyRepository) {
    let can = store.capabilities();
    let id = added(store, key(store, "key")).await.key().id();
    let stored = owner(1);
    let stored = if can.owners {
        ok(add_owner(store, Owner::staff("boss").with_accounts(["a"])).await, "change_owner")
    } else {
        stored
    };
    let nobody = OwnerId::from("nobody at all");
    for (caller, expected) in
        [(None, None), (Some(&nobody), None), (Some(stored.id()), Some(stored.id()))]
    {
        let same = |seen: Option<&Owner>| {
            let is_stored = seen.map(Owner::id) == expected;
            let is_whole = !can.owners || seen.is_none_or(|seen| *seen == stored);
            rule(is_stored && is_whole, "a closure sees the caller's row as it is stored, or none");
        };
        let mut plan = |family: &Family| {
            same(family.caller.as_ref());
            Some(Vec::new())
        };
        ok(store.change(&[id], caller, &mut plan).await, "change");
        let new = key(store, "never made");
        let mut judge = |_: &Owner, seen: Option<&Owner>| {
            same(seen);
            false
        };
        let answer = store.insert(new, owner(1), caller, &mut judge).await;
        refused(answer, StoreError::is_not_applied, "an insert that was refused is `not_applied`");
        if can.owners {
            let mut edit = |_: Option<&Owner>, seen: Option<&Owner>| {
                same(seen);
                None
            };
            let answer = store.change_owner(&1.into(), caller, &mut edit).await;
            refused(answer, StoreError::is_not_applied, "an edit that says no is `not_applied`");
        }
    }
    if can.owners {
        // Whoever is about to be made is not stored yet.
        let new = ApiKey::new(KeyId::random(), digest_of(store, "new"), "new".into(), moment(0));
        let mut judge = |_: &Owner, seen: Option<&Owner>| {
            rule(seen.is_none(), "a caller whose own row is about to be made is not stored");
            false
        };
        let caller = OwnerId::from("new");
        let answer = store.insert(new, Owner::new("new"), Some(&caller), &mut judge).await;
        refused(answer, StoreError::is_not_applied, "an insert that was refused is `not_applied`");
        rule(ok(store.owner(&caller).await, "owner").is_none(), "a refused insert makes no owner");
    }
    found(store.get(id).await, "get");
}
