//! Rules of `record_uses`.

use chrono::{DateTime, Duration, Utc};

use super::fixture::{digest_of, found, key, moment, ok, record, rule};
use crate::{
    state::store::contract::{KeyStore, KeyUse},
    value::key::{ApiKey, KeyId, Record},
};

pub(super) fn used(key: &ApiKey, at: DateTime<Utc>, if_before: DateTime<Utc>) -> KeyUse {
    KeyUse { key: key.id(), digest: *key.digest(), at, if_before }
}

/// `None` from a store that keeps no last use.
async fn write(store: &impl KeyStore, uses: &[KeyUse]) -> Option<u64> {
    match store.record_uses(uses).await {
        Err(error) if error.is_unsupported() => None,
        answer => Some(ok(answer, "record_uses")),
    }
}

async fn last_use(store: &impl KeyStore, key: &ApiKey) -> Option<DateTime<Utc>> {
    found(store.find(*key.digest()).await, "find").key().last_used_at()
}

pub(super) async fn forward_only<S: KeyStore>(store: &S, seed: &impl AsyncFn(&S, Record)) {
    let key = key(store, "used");
    seed(store, record(key.clone())).await;
    let micro = Duration::microseconds(1);

    let Some(written) = write(store, &[used(&key, moment(10), moment(5))]).await else { return };
    let stored = last_use(store, &key).await;
    rule(stored == Some(moment(10)), "a first use is written, to the microsecond");
    rule(written == 1, "`record_uses` answers how many rows it wrote");

    // Refused: the stored time is not earlier than `if_before`, by all or by nothing.
    for (at, if_before) in [(20, 10), (20, 5), (3, 3)] {
        let written = write(store, &[used(&key, moment(at), moment(if_before))]).await;
        let stored = last_use(store, &key).await;
        rule(stored == Some(moment(10)), "a use is passed over unless the stored time is earlier");
        rule(written == Some(0), "a use that was passed over does not count as written");
    }
    let written = write(store, &[used(&key, moment(20), moment(10) + micro)]).await;
    rule(written == Some(1), "a use is written when the stored time is earlier by a microsecond");
    rule(last_use(store, &key).await == Some(moment(20)), "the later use is what is stored");
}

pub(super) async fn last_use_alone<S: KeyStore>(store: &S, seed: &impl AsyncFn(&S, Record)) {
    let key = key(store, "used").with_expires_at(Some(moment(1)));
    seed(store, record(key.clone())).await;
    let before = found(store.find(*key.digest()).await, "find");
    if write(store, &[used(&key, moment(60), moment(60))]).await.is_none() {
        return;
    }
    let after = found(store.find(*key.digest()).await, "find");
    let (a, b) = (before.key(), after.key());
    rule(a.updated_at() == b.updated_at(), "`record_uses` leaves updated_at alone");
    rule(before.same_standing(&after), "`record_uses` writes last_used_at and nothing else");
    rule(a.name() == b.name(), "`record_uses` writes last_used_at and nothing else");
}

pub(super) async fn batches<S: KeyStore>(store: &S, seed: &impl AsyncFn(&S, Record)) {
    let keys = ["a", "b", "c"].map(|token| key(store, token));
    for key in &keys {
        seed(store, record(key.clone())).await;
    }
    let [a, b, c] = &keys;
    if write(store, &[used(b, moment(50), moment(50))]).await.is_none() {
        return;
    }
    rule(write(store, &[]).await == Some(0), "`record_uses` of nothing writes nothing");

    let gone = ApiKey::new(KeyId::random(), digest_of(store, "gone"), 1.into(), moment(0));
    let uses = [a, b, &gone, c].map(|key| used(key, moment(40), moment(40)));
    let written = write(store, &uses).await;
    rule(written == Some(2), "a key that is gone or used later is passed over, the others written");
    rule(last_use(store, a).await == Some(moment(40)), "each use of a batch is judged by itself");
    rule(last_use(store, b).await == Some(moment(50)), "last_used_at never goes back");
    rule(last_use(store, c).await == Some(moment(40)), "each use of a batch is judged by itself");
    let found = ok(store.find(*gone.digest()).await, "find");
    rule(found.is_none(), "`record_uses` makes no row");

    // The same key twice, in either order.
    let (early, late) = (used(a, moment(60), moment(60)), used(a, moment(70), moment(70)));
    write(store, &[early, late]).await;
    rule(last_use(store, a).await == Some(moment(70)), "of two uses of a key the later stays");
    let (early, late) = (used(c, moment(60), moment(60)), used(c, moment(70), moment(70)));
    write(store, &[late, early]).await;
    rule(last_use(store, c).await == Some(moment(70)), "of two uses of a key the later stays");
}
