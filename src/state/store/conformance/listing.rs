//! Rules of `list`.

use super::fixture::{added, delete, key, moment, ok, rule, same};
use crate::{
    state::store::contract::{Cursor, KeyQuery, KeyRepository},
    value::key::Record,
};

/// Keys made out of order, some at the same moment; answered in the order of a listing.
async fn some_keys(store: &impl KeyRepository) -> Vec<Record> {
    let mut all = Vec::new();
    for (n, minutes) in [5, 1, 3, 1, 4, 1, 3, -7].into_iter().enumerate() {
        let token = format!("key {n}");
        let plain = key(store, &token);
        let digest = *plain.digest();
        let made = moment(minutes);
        let key = crate::value::key::ApiKey::new(plain.id(), digest, 1.into(), made);
        all.push(added(store, key.with_name(token)).await);
    }
    all.sort_by_key(|record| Cursor::behind(record.key()));
    all
}

async fn page(store: &impl KeyRepository, limit: u32, after: Option<Cursor>) -> Vec<Record> {
    ok(store.list(KeyQuery::first(limit).after(after)).await, "list")
}

fn ids(records: &[Record]) -> Vec<Cursor> {
    records.iter().map(|record| Cursor::behind(record.key())).collect()
}

pub(super) async fn in_order(store: &impl KeyRepository) {
    rule(page(store, 10, None).await.is_empty(), "an empty store lists nothing");
    let all = some_keys(store).await;
    let listed = page(store, 1000, None).await;
    rule(ids(&listed) == ids(&all), "keys are listed oldest first, ties by id, each once");
    for (listed, expected) in listed.iter().zip(&all) {
        same(listed, expected, store.capabilities());
    }
    for limit in 1..=9 {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let next = page(store, limit, after).await;
            rule(next.len() <= limit as usize, "a page has at most as many keys as asked for");
            let Some(last) = next.last() else { break };
            after = Some(Cursor::behind(last.key()));
            pages.extend(next);
            rule(pages.len() <= all.len(), "a page begins behind the cursor");
        }
        rule(ids(&pages) == ids(&all), "pages follow each other without gap or repetition");
    }
}

pub(super) async fn pages_stay(store: &impl KeyRepository) {
    let all = some_keys(store).await;
    let first = page(store, 3, None).await;
    rule(ids(&first) == ids(&all[..3]), "the first page holds the oldest keys");
    // One that was seen goes, the cursor's own goes, and one is added before the cursor.
    let cursor = Cursor::behind(first[2].key());
    for record in [&all[0], &all[2]] {
        ok(delete(store, record.key().id()).await, "change");
    }
    let early = key(store, "early");
    let early = crate::value::key::ApiKey::new(early.id(), *early.digest(), 1.into(), moment(-50));
    added(store, early).await;
    let second = page(store, 3, Some(cursor)).await;
    let said = "a page is stable while keys are added or removed before it";
    rule(ids(&second) == ids(&all[3..6]), said);
}
