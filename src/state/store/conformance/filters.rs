//! Rules of `list` about filters, ownership and order: the store against the plain reading of them.

use chrono::{DateTime, Utc};

use super::fixture::{add_owner, digest_of, moment, ok, rule};
use crate::{
    state::store::contract::{Cursor, KeyFilter, KeyOrder, KeyQuery, KeyRepository},
    value::{
        key::{ApiKey, KeyId, Record},
        owner::{AccountId, Owner},
        ownership::Relation,
    },
};

/// Keys that differ in all that a filter asks about.
async fn some_keys(store: &impl KeyRepository) -> Vec<Record> {
    let can = store.capabilities();
    let mut all = Vec::new();
    for n in 0..24_u32 {
        let number = i64::from(n);
        let pick = |among: &[&str]| {
            let item = among[n as usize % among.len()];
            (!item.is_empty()).then(|| item.to_owned())
        };
        let digest = digest_of(store, &format!("filtered {n}"));
        let owner = 1 + n % 3;
        let mut key = ApiKey::new(KeyId::random(), digest, owner.into(), moment(number % 7))
            .with_expires_at((n % 4 > 0).then(|| moment(number % 5)));
        if can.metadata {
            // Of a store that keeps owners elsewhere nobody knows which accounts there are.
            let account = pick(&["a", "", "b", "p", "c"]).filter(|_| can.owners);
            key = key
                .with_name(
                    pick(&["Nightly Build", "nightly", "100% é_", "plain"]).unwrap_or_default(),
                )
                .with_description(pick(&["", "the BUILD machine", "É", "%"]))
                .with_account(account.map(AccountId::from))
                .with_tags(pick(&["ci", "", "CI", "ci,x"]));
        }
        if can.activation {
            key = key.with_active(n % 5 != 0);
        }
        if can.last_use {
            key = key.with_last_used_at((n % 3 == 0).then(|| moment(number % 6)));
        }
        let stored = store.insert(key, Owner::staff(owner), None, &mut |_, _| true).await;
        all.push(ok(stored, "insert"));
    }
    all
}

/// Lists all pages of one query, two keys at a time.
async fn pages(store: &impl KeyRepository, query: &KeyQuery) -> Vec<Record> {
    let (mut all, mut after): (Vec<Record>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let mut query = query.clone().after(after);
        query.limit = 5;
        let page = ok(store.list(query).await, "list");
        let Some(last) = page.last() else { return all };
        after = Some(Cursor::behind(last.key()));
        all.extend(page);
        rule(all.len() <= 1000, "a page begins behind the cursor");
    }
}

/// Panics unless the store lists what the plain reading does.
async fn as_plainly_read(
    store: &impl KeyRepository,
    all: &[Record],
    owners: &[Owner],
    filter: KeyFilter,
    platform: Option<&str>,
) -> usize {
    let mut expected_of = 0;
    for order in [KeyOrder::OldestFirst, KeyOrder::NewestFirst] {
        let query = KeyQuery::first(1).filter(filter.clone()).order(order);
        let query = query.platform(platform.map(AccountId::from));
        let find = |id: &_| owners.iter().find(|owner| owner.id() == id);
        let mut expected: Vec<&Record> =
            all.iter().filter(|record| query.admits(record.key(), find)).collect();
        expected.sort_by(|one, other| query.compare(one, other));
        let expected: Vec<KeyId> = expected.into_iter().map(Record::id).collect();
        let listed: Vec<KeyId> = pages(store, &query).await.iter().map(Record::id).collect();
        let said = format!("`list` answers as `KeyQuery::admits` reads {filter:?} in {order:?}");
        rule(listed == expected, &said);
        expected_of = expected.len();
    }
    expected_of
}

pub(super) async fn each_filter(store: &impl KeyRepository) {
    let can = store.capabilities();
    let all = some_keys(store).await;
    let micro = chrono::Duration::microseconds(1);
    let some = |n: usize| all[n].key();
    let moments: Vec<DateTime<Utc>> =
        (0..7).flat_map(|n| [moment(n), moment(n) + micro, moment(n) - micro]).collect();
    let mut filters = vec![
        KeyFilter::all(),
        KeyFilter { id: Some(some(3).id()), ..KeyFilter::all() },
        KeyFilter { id: Some(KeyId::random()), ..KeyFilter::all() },
        KeyFilter { digest: Some(*some(4).digest()), ..KeyFilter::all() },
        KeyFilter::all().owner(2),
        KeyFilter::all().owner("nobody at all"),
        KeyFilter::all().active(true),
        KeyFilter::all().active(false),
        KeyFilter::all().owner(1).active(true).expires_before(moment(3)),
    ];
    for moment in &moments {
        filters.push(KeyFilter::all().expires_before(*moment));
        filters.push(KeyFilter::all().expires_from(*moment));
        filters.push(KeyFilter::all().created_before(*moment));
        filters.push(KeyFilter::all().unused_since(*moment));
    }
    filters.push(KeyFilter::all().never_used());
    filters.push(KeyFilter { never_used: Some(false), ..KeyFilter::all() });
    for text in ["build", "BUILD", "nightly", "%", "_", "é", "É", "100% é", "no such"] {
        filters.push(KeyFilter::all().text(text));
    }
    for tag in ["ci", "CI", "c", "ci,x", "["] {
        filters.push(KeyFilter::all().tag(tag));
    }
    let mut found = 0;
    for filter in filters {
        let needs_metadata = filter.tag.is_some() || filter.text.is_some();
        if can.metadata || !needs_metadata {
            found += as_plainly_read(store, &all, &[], filter, None).await;
        }
    }
    assert!(found > 100, "the filters of this suite find too little to tell anything");
}

/// Every rule of ownership, by every kind of user.
pub(super) async fn each_relation(store: &impl KeyRepository) {
    let mut all = some_keys(store).await;
    let user = |id: &str| Owner::new(id);
    let owners = [
        user("member").with_accounts(["a"]),
        user("twice").with_accounts(["a", "b"]),
        user("staff").with_staff(true).with_accounts(["b"]),
        user("loose staff").with_staff(true),
        user("super").with_superuser(true),
        user("off").with_superuser(true).with_active(false),
        user("off member").with_accounts(["a", "b", "p"]).with_active(false),
        user("plain"),
    ];
    let mut known: Vec<Owner> = (1..=3).map(Owner::staff).collect();
    for (n, owner) in owners.into_iter().enumerate() {
        ok(add_owner(store, owner.clone()).await, "change_owner");
        for account in [None, Some("a"), Some("p")] {
            let digest = digest_of(store, &format!("own {n} {account:?}"));
            let key = ApiKey::new(KeyId::random(), digest, owner.id().clone(), moment(n as i64));
            let key = key.with_account(account.map(AccountId::from));
            let stored = store.insert(key, owner.clone(), None, &mut |_, _| true).await;
            all.push(ok(stored, "insert"));
        }
        known.push(owner);
    }
    let users: Vec<_> = known.iter().map(|owner| owner.id().clone()).collect();
    let users = users.iter().cloned().chain(["nobody at all".into()]);
    let mut found = 0;
    for user in users {
        for platform in [None, Some("p"), Some("nowhere")] {
            for relation in
                [Relation::Owner, Relation::Reader, Relation::SharedWith, Relation::Manager]
            {
                let filter = KeyFilter::all().standing(user.clone(), relation);
                found += as_plainly_read(store, &all, &known, filter.clone(), platform).await;
                let narrow = filter.active(true).standing("twice", Relation::Reader);
                as_plainly_read(store, &all, &known, narrow, platform).await;
            }
        }
    }
    assert!(found > 300, "the rules of this suite find too little to tell anything");
}
