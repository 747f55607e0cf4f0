//! The store contract as two test suites, for stores of one's own (`test-util`), and that of feeds
//! as a third.
//!
//! Each suite of stores makes fresh, empty ones, tries every rule of the contract on them, and panics
//! with the rule that was broken; [`revocation_feed`] does so with feeds. They want a tokio runtime, as
//! `#[tokio::test]` gives.
//!
//! ```
//! use tower_token_auth::{MemoryStore, store::{KeyRepository, conformance}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // What can be managed:
//! conformance::key_repository(async || MemoryStore::new()).await;
//!
//! // What can only be read: the second closure puts a record where the store will find it.
//! conformance::key_store(async || MemoryStore::new(), async |store, record| {
//!     let (key, owner) = (record.key().clone(), record.owner().clone());
//!     store.insert(key, owner, None, &mut |_, _| true).await.unwrap();
//! })
//! .await;
//! # }
//! ```

mod changes;
mod families;
mod feeds;
mod filters;
mod fixture;
mod inserts;
mod listing;
mod lookup;
mod owners;
mod together;
mod uses;

pub use feeds::{FeedFixture, revocation_feed};

use super::contract::{KeyRepository, KeyStore};
use crate::value::key::Record;

/// Tries every rule of [`KeyStore`].
///
/// `fresh` makes an empty store. `seed` puts a record into it, the way the store's records come
/// into being: the owner's row too, unless it is there already. Of a record, what a decision needs
/// is compared: id, digest, expiry, active flag, and the owner's id and active flag.
///
/// A store whose `record_uses` answers `unsupported` passes without a last use.
///
/// # Panics
/// When the store breaks a rule; the message names it.
pub async fn key_store<S: KeyStore>(fresh: impl AsyncFn() -> S, seed: impl AsyncFn(&S, Record)) {
    lookup::absence(&fresh().await).await;
    lookup::presence(&fresh().await, &seed).await;
    lookup::digests_byte_for_byte(&fresh, &seed).await;
    lookup::many(&fresh().await, &seed).await;
    lookup::dropped_reads(&fresh().await, &seed).await;
    uses::forward_only(&fresh().await, &seed).await;
    uses::last_use_alone(&fresh().await, &seed).await;
    uses::batches(&fresh().await, &seed).await;
}

/// Tries every rule of [`KeyRepository`] that the store's
/// [`capabilities`](KeyRepository::capabilities) leave it, and those of [`KeyStore`].
///
/// `fresh` makes an empty store. One without the `owners` capability must know the active staff
/// owners `1`, `2` and `3`, each of them a member of one account at most; no other owners are used on it,
/// and no key is given an account.
///
/// # Panics
/// When the store breaks a rule; the message names it.
pub async fn key_repository<S: KeyRepository>(fresh: impl AsyncFn() -> S) {
    let seed = async |store: &S, record: Record| fixture::add(store, record).await;
    key_store(&fresh, seed).await;

    inserts::stored_as_given(&fresh().await).await;
    inserts::duplicates(&fresh().await).await;
    inserts::judged(&fresh().await).await;
    inserts::dropped(&fresh().await).await;
    changes::updated(&fresh().await).await;
    changes::identity(&fresh().await).await;
    changes::refusals(&fresh().await).await;
    changes::at_once(&fresh().await).await;
    changes::beside_uses(&fresh().await).await;
    changes::deleted(&fresh().await).await;
    families::several(&fresh().await).await;
    families::callers(&fresh().await).await;
    if fresh().await.capabilities().lineage {
        families::relatives(&fresh().await).await;
        families::one_successor(&fresh().await).await;
    }
    listing::in_order(&fresh().await).await;
    listing::pages_stay(&fresh().await).await;
    filters::each_filter(&fresh().await).await;
    if fresh().await.capabilities().owners {
        owners::made_by_insert(&fresh().await).await;
        owners::inserted(&fresh().await).await;
        owners::changed(&fresh().await).await;
        owners::refusals(&fresh().await).await;
        owners::told_apart(&fresh().await).await;
        owners::at_once(&fresh().await).await;
        filters::each_relation(&fresh().await).await;
    } else {
        owners::unsupported(&fresh().await).await;
    }
}
