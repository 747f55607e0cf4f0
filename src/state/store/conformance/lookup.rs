//! Rules of `find` and `find_many`.

use super::{
    fixture::{
        decides_alike, digest_from, digest_of, found, key, key_of, moment, ok, record, rule,
    },
    together,
};
use crate::{
    state::store::contract::KeyStore,
    value::{digest::TokenDigest, key::Record},
};

pub(super) async fn absence(store: &impl KeyStore) {
    let algorithm = store.digest_algorithm();
    rule(store.digest_algorithm() == algorithm, "the digest algorithm is the same at every call");
    let digest = digest_of(store, "nobody");
    let answer = ok(store.find(digest).await, "find");
    rule(answer.is_none(), "`find` answers None for a digest that is not there");
    let answer = ok(store.find_many(&[digest]).await, "find_many");
    rule(answer.is_empty(), "`find_many` leaves out a digest that is not there");
    let answer = ok(store.find_many(&[]).await, "find_many");
    rule(answer.is_empty(), "`find_many` answers no digests with no records");
}

pub(super) async fn presence<S: KeyStore>(store: &S, seed: &impl AsyncFn(&S, Record)) {
    let plain = record(key(store, "plain"));
    let expiring = record(key(store, "expiring").with_expires_at(Some(moment(1))));
    let expired = record(key(store, "expired").with_expires_at(Some(moment(-100_000))));
    let all = [plain, expiring, expired];
    for record in &all {
        seed(store, record.clone()).await;
    }
    for record in &all {
        // Found whatever a decision will be: expiry and flags are judged by the caller.
        decides_alike(&found(store.find(*record.key().digest()).await, "find"), record);
    }
}

/// Pairs that a collation, a padding or a text encoding would take for the same.
const LOOK_ALIKE: [(&[u8], &[u8]); 6] = [
    // Letters of either case, in the bytes themselves …
    (b"a", b"A"),
    // … and in base64: `aaaa` and `AAAA`.
    (&[0x69, 0xa6, 0x9a], &[0, 0, 0]),
    // Letters with and without an accent, in Latin-1.
    (&[0xe9], b"e"),
    // What pads a column: blanks and zeros.
    (b"x\0\0\0\0\0\0\0", b"x       "),
    // One bit.
    (b"0", b"1"),
    (&[0xff], &[0xfe]),
];

pub(super) async fn digests_byte_for_byte<S: KeyStore>(
    fresh: &impl AsyncFn() -> S,
    seed: &impl AsyncFn(&S, Record),
) {
    let said = "digests are compared byte for byte";
    for (one, other) in LOOK_ALIKE {
        let store = fresh().await;
        let digest = |pattern| digest_from(store.digest_algorithm(), pattern);
        let first = record(key_of(1, digest(one)));
        seed(&store, first.clone()).await;
        rule(ok(store.find(digest(other)).await, "find").is_none(), said);
        rule(ok(store.find_many(&[digest(other)]).await, "find_many").is_empty(), said);
        let second = record(key_of(1, digest(other)));
        seed(&store, second.clone()).await;
        decides_alike(&found(store.find(digest(one)).await, "find"), &first);
        decides_alike(&found(store.find(digest(other)).await, "find"), &second);
    }
    // The last byte counts as much as the first.
    let store = fresh().await;
    let first = digest_of(&store, "whole");
    seed(&store, record(key_of(1, first))).await;
    for at in [0, first.as_bytes().len() - 1] {
        let mut bytes = first.as_bytes().to_vec();
        bytes[at] ^= 1;
        let near = TokenDigest::from_bytes(store.digest_algorithm(), &bytes);
        let near = near.expect("one changed bit leaves the length");
        rule(ok(store.find(near).await, "find").is_none(), said);
    }
}

pub(super) async fn many<S: KeyStore>(store: &S, seed: &impl AsyncFn(&S, Record)) {
    let there: Vec<Record> = ["a", "b", "c"].map(|token| record(key(store, token))).into();
    for record in &there {
        seed(store, record.clone()).await;
    }
    let absent: Vec<_> = (0..2000).map(|n| digest_of(store, &format!("absent {n}"))).collect();
    let (head, tail) = absent.split_at(1000);
    let mut asked = head.to_vec();
    // Each twice, in another order than they were stored in.
    for record in there.iter().rev().chain(&there) {
        asked.push(*record.key().digest());
    }
    asked.extend(tail);
    let answer = ok(store.find_many(&asked).await, "find_many");
    rule(answer.len() >= there.len(), "`find_many` finds every digest that is there");
    rule(answer.len() <= there.len(), "`find_many` answers each record once, and no other");
    for record in &there {
        let same = answer.iter().find(|found| found.key().digest() == record.key().digest());
        rule(same.is_some(), "`find_many` finds every digest that is there");
        same.into_iter().for_each(|found| decides_alike(found, record));
    }
    let one = ok(store.find_many(&asked[1000..1001]).await, "find_many");
    rule(one.len() == 1, "`find_many` finds one digest, too");
}

/// A read may be dropped at any await point, and the store goes on.
pub(super) async fn dropped_reads<S: KeyStore>(store: &S, seed: &impl AsyncFn(&S, Record)) {
    let record = record(key(store, "kept"));
    let digest = *record.key().digest();
    seed(store, record.clone()).await;
    for polls in 0..12 {
        together::drop_after(polls, store.find(digest)).await;
        together::drop_after(polls, store.find_many(&[digest])).await;
    }
    decides_alike(&found(store.find(digest).await, "find"), &record);
}
