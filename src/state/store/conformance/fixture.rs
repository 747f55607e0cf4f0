//! What the suites make, and how they say that a rule is broken.

use std::error::Error as _;

use chrono::{DateTime, Duration, Utc};

use crate::{
    state::store::{
        contract::{Capabilities, Family, KeyRepository, KeyStore, KeyWrite},
        error::StoreError,
    },
    value::{
        digest::{DigestAlgorithm, TokenDigest},
        key::{ApiKey, KeyId, Record},
        owner::{Owner, OwnerId},
        token::TokenKey,
    },
};

/// Panics unless the rule holds.
#[track_caller]
pub(super) fn rule(holds: bool, rule: &str) {
    assert!(holds, "the store breaks a rule of its contract: {rule}");
}

/// What a call answered, unless it failed.
#[track_caller]
pub(super) fn ok<T>(answer: Result<T, StoreError>, call: &str) -> T {
    answer.unwrap_or_else(|error| {
        let (mut told, mut behind) = (error.to_string(), error.source());
        while let Some(source) = behind {
            told.push_str(&format!(": {source}"));
            behind = source.source();
        }
        panic!("the store's `{call}` failed where it should answer: {told}")
    })
}

/// What a lookup answered, unless it found nothing.
#[track_caller]
pub(super) fn found<T>(answer: Result<Option<T>, StoreError>, call: &str) -> T {
    ok(answer, call).unwrap_or_else(|| panic!("the store's `{call}` does not find what is there"))
}

/// Panics unless the call was refused with the error that `is` knows.
#[track_caller]
pub(super) fn refused<T>(
    answer: Result<T, StoreError>,
    is: fn(&StoreError) -> bool,
    expected: &str,
) {
    match answer {
        Ok(_) => panic!("the store breaks a rule of its contract: {expected}; it answered Ok"),
        Err(error) => assert!(
            is(&error),
            "the store breaks a rule of its contract: {expected}; it answered `{error}`"
        ),
    }
}

/// A moment with microseconds, `minutes` after a fixed one.
pub(super) fn moment(minutes: i64) -> DateTime<Utc> {
    let start = DateTime::from_timestamp_micros(1_767_323_045_678_901);
    start.expect("the year 2026 is in the calendar") + Duration::minutes(minutes)
}

pub(super) fn digest_of(store: &impl KeyStore, token: &str) -> TokenDigest {
    TokenDigest::of(store.digest_algorithm(), token)
}

/// A digest whose bytes repeat `pattern`.
pub(super) fn digest_from(algorithm: DigestAlgorithm, pattern: &[u8]) -> TokenDigest {
    let bytes: Vec<u8> = pattern.iter().copied().cycle().take(algorithm.digest_len()).collect();
    TokenDigest::from_bytes(algorithm, &bytes).expect("the bytes are as many as a digest has")
}

/// An owner that every repository knows or may be told of.
pub(super) fn owner(number: u32) -> Owner {
    Owner::staff(number)
}

/// A plain key of [`owner`]`(number)`.
pub(super) fn key_of(number: u32, digest: TokenDigest) -> ApiKey {
    ApiKey::new(KeyId::random(), digest, number.into(), moment(0))
}

/// A plain key of the first owner.
pub(super) fn key(store: &impl KeyStore, token: &str) -> ApiKey {
    key_of(1, digest_of(store, token)).with_token_key(TokenKey::of(token)).with_name(token)
}

pub(super) fn record(key: ApiKey) -> Record {
    Record::new(key, owner(1))
}

/// Inserts a record, by a judge that allows it.
pub(super) async fn add(store: &impl KeyRepository, record: Record) {
    let (key, owner) = (record.key().clone(), record.owner().clone());
    ok(store.insert(key, owner, None, &mut |_, _| true).await, "insert");
}

/// Inserts a key of the first owner and answers with it as stored.
pub(super) async fn added(store: &impl KeyRepository, key: ApiKey) -> Record {
    ok(store.insert(key, owner(1), None, &mut |_, _| true).await, "insert")
}

/// Changes one key as `edit` says, and answers with its row.
pub(super) async fn update(
    store: &impl KeyRepository,
    id: KeyId,
    edit: &mut (dyn FnMut(&Record) -> Option<ApiKey> + Send),
) -> Result<Record, StoreError> {
    let mut plan = |family: &Family| Some(vec![KeyWrite::Update(edit(&family.key)?)]);
    only(store.change(&[id], None, &mut plan).await)
}

/// Deletes one key, and answers with its row as it was.
pub(super) async fn delete(store: &impl KeyRepository, id: KeyId) -> Result<Record, StoreError> {
    let mut plan = |family: &Family| Some(vec![KeyWrite::Delete(family.key.id())]);
    only(store.change(&[id], None, &mut plan).await)
}

fn only(answer: Result<Vec<Record>, StoreError>) -> Result<Record, StoreError> {
    let mut written = answer?;
    rule(written.len() == 1, "`change` answers with each row that it wrote, and with no other");
    Ok(written.remove(0))
}

/// Adds an owner, or says that one is there.
pub(super) async fn add_owner(
    store: &impl KeyRepository,
    owner: Owner,
) -> Result<Owner, StoreError> {
    let mut edit =
        |stored: Option<&Owner>, _: Option<&Owner>| stored.is_none().then(|| owner.clone());
    store.change_owner(owner.id(), None, &mut edit).await
}

/// Changes an owner who is there.
pub(super) async fn update_owner(
    store: &impl KeyRepository,
    id: &OwnerId,
    edit: &mut (dyn FnMut(&Owner) -> Option<Owner> + Send),
) -> Result<Owner, StoreError> {
    let mut decide = |stored: Option<&Owner>, _: Option<&Owner>| edit(stored?);
    store.change_owner(id, None, &mut decide).await
}

/// Panics unless the two agree in what a decision needs.
#[track_caller]
pub(super) fn decides_alike(stored: &Record, expected: &Record) {
    let (a, b) = (stored.key(), expected.key());
    let is_derived = a.id() == KeyId::of_digest(b.digest());
    let said = "a record's key id is the one that was stored, or made of its digest";
    rule(a.id() == b.id() || is_derived, said);
    same_but_for_id(stored, expected);
}

#[track_caller]
fn same_but_for_id(stored: &Record, expected: &Record) {
    let (a, b) = (stored.key(), expected.key());
    rule(a.digest() == b.digest(), "a record's digest is the one that was stored");
    rule(a.expires_at() == b.expires_at(), "a key's expiry is kept to the microsecond");
    rule(a.is_active() == b.is_active(), "a key's active flag is the one that was stored");
    rule(a.owner_id() == b.owner_id(), "a key names its owner");
    rule(stored.owner().id() == b.owner_id(), "a record holds the row of the key's owner");
    let alike = stored.owner().is_active() == expected.owner().is_active();
    rule(alike, "a record holds the owner's active flag as it stands");
}

/// Panics unless the two agree in all that the store's capabilities can keep.
#[track_caller]
pub(super) fn same(stored: &Record, expected: &Record, can: Capabilities) {
    let (a, b) = (stored.key(), expected.key());
    same_but_for_id(stored, expected);
    rule(a.created_at() == b.created_at(), "created_at is kept to the microsecond");
    if can.last_use {
        rule(a.last_used_at() == b.last_used_at(), "last_used_at is kept to the microsecond");
    }
    if can.metadata {
        rule(a.id() == b.id(), "a record's key id is the one that was stored");
        rule(a.updated_at() == b.updated_at(), "updated_at is kept to the microsecond");
        rule(a.token_key() == b.token_key(), "the token key is kept");
        rule(a.name() == b.name(), "the name is kept, whatever its characters and length");
        // A store that keeps owners elsewhere may put their keys into an account of theirs.
        let said = "the account is kept, or none";
        rule(!can.owners && b.account().is_none() || a.account() == b.account(), said);
        let said = "the predecessor is kept, or none";
        rule(!can.lineage || a.predecessor() == b.predecessor(), said);
        rule(a.description() == b.description(), "the description is kept, or none");
        rule(a.version() == b.version(), "the version is kept, or none");
        rule(a.tags().eq(b.tags()), "tags are kept in their order");
        rule(a.annotations().eq(b.annotations()), "annotations are kept");
        rule(!can.scopes || a.scopes().eq(b.scopes()), "scopes are kept in their order");
    }
    if can.owners {
        rule(stored.owner() == expected.owner(), "a record holds its owner's whole row");
    }
}
