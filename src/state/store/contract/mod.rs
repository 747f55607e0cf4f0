//! What a store promises: reads for authentication, changes for management.

mod change;
mod filter;
mod query;

use chrono::{DateTime, Utc};

pub use self::{
    change::{Family, InsertJudge, KeyPlan, KeyWrite, OwnerEdit},
    filter::{KeyFilter, Standing},
    query::{Cursor, KeyOrder, KeyQuery},
};
use super::error::StoreError;
use crate::value::{
    digest::{DigestAlgorithm, TokenDigest},
    key::{ApiKey, KeyId, Record},
    owner::{Owner, OwnerId},
};

/// Where keys are looked up: all that authentication needs.
///
/// Implementors write plain `async fn`. There are no defaults: every method is one the crate calls.
///
/// # Rules
/// 1. A read sees every change that was committed before the read began. A replica that lags breaks
///    the revocation bound by its lag.
/// 2. A read answers with the owner's row as it stands now, joined in: one round trip.
/// 3. Absence is `Ok(None)`; trouble is an error. A store never answers "absent" because it could
///    not look: the crate turns absence into 401 and trouble into 503.
/// 4. Digests are compared byte for byte, whatever a database's collation says.
/// 5. Every future may be dropped at any await point. A dropped read has no effect; a dropped
///    [`record_uses`](Self::record_uses) happened for all, some or none of its rows.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no key store",
    note = "implement `tower_token_auth::store::KeyStore` for it"
)]
pub trait KeyStore: Send + Sync + 'static {
    /// The hash function by which this store knows its tokens; the same at every call.
    fn digest_algorithm(&self) -> DigestAlgorithm;

    /// Finds the record of one digest, in one query on the digest's primary key.
    ///
    /// # Errors
    /// [`StoreError::unavailable`] when the store could not look: three of those in a row and the
    /// breaker lets only a few probes through. Any other error is about this one row, and answered
    /// 503 alike.
    fn find(
        &self,
        digest: TokenDigest,
    ) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Finds the records of many digests in one query: unordered, absent ones left out, each found
    /// one once however often it was asked for. No digests: an empty answer. The authenticator asks for
    /// up to 256 at a time and waits no longer than for one: whoever looks them up one by one is too slow.
    ///
    /// # Errors
    /// As for [`find`](Self::find), for all of them together.
    fn find_many(
        &self,
        digests: &[TokenDigest],
    ) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;

    /// Writes when keys were last used: `last_used_at` alone, and only forward. A row is written if
    /// its stored time is absent or earlier than the use's `if_before`; every other row, and a key
    /// that is gone, is passed over in silence. Returns how many rows were written. No trigger,
    /// feed or `updated_at` may notice.
    ///
    /// # Errors
    /// [`StoreError::unsupported`] when this store keeps no last use or may not write: the recorder
    /// then stops asking. Any other error is tried again.
    fn record_uses(&self, uses: &[KeyUse]) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Where keys are managed.
///
/// # Rules
/// 1. Each change is one transaction: it happened whole, or it did not.
/// 2. `Ok` means committed and durable: it survives the machine's power being cut.
/// 3. An error is *definite* (nothing changed) only if it is `duplicate`, `not_found`,
///    `unsupported` or `not_applied`. Every other error of a change counts as an unknown outcome.
/// 4. The closures that judge and plan run inside the transaction, on the rows as they stand there,
///    and nothing is written before they answered. They are quick and may be called again when a
///    transaction is retried; the last call counts. `false` or `None` means: change nothing, and
///    answer [`StoreError::not_applied`].
/// 5. A dropped future leaves the change either committed or rolled back, never half done. What its
///    closures saw holds until the commit: if somebody else has written those rows by then, even as
///    they stood, or has added one of that id or digest and taken it away again, the change is not
///    made any more. So a change whose outcome is unknown is settled for good by another one of the
///    same rows.
/// 6. A *caller* is on whose behalf a change is made. The store looks their row up inside the same
///    transaction and hands it to the closure, which judges; it hands over `None` where no caller was
///    named, and where the one who was is not stored.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a key store without management",
    note = "implement `tower_token_auth::store::KeyRepository` for it, or build the \
            authenticator with `Authenticator::read_only(store)`"
)]
pub trait KeyRepository: KeyStore {
    /// What this store's schema can express.
    fn capabilities(&self) -> Capabilities;

    /// Adds a key. The owner's row is made from `owner` if there is none; one that is there stays
    /// as it is. `judge` sees the stored row, or the one that is to be made, and the caller's, and
    /// decides. Returns the record as stored.
    ///
    /// # Errors
    /// [`StoreError::duplicate`] when the key id or the digest is taken: nothing is overwritten.
    /// [`StoreError::not_applied`] when `judge` says no; the owner's row is then not made either.
    fn insert(
        &self,
        key: ApiKey,
        owner: Owner,
        caller: Option<&OwnerId>,
        judge: InsertJudge<'_>,
    ) -> impl Future<Output = Result<Record, StoreError>> + Send;

    /// Finds a key by its id.
    ///
    /// # Errors
    /// When the store could not look.
    fn get(&self, id: KeyId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Changes keys: has `plan` decide on each of `ids` in turn, seeing its [`Family`] with what was
    /// written for those before it, and writes what it answers, all in one transaction. Ids that are
    /// not there are passed over. Returns the rows that were written, in that order, each as it now
    /// stands; deleted ones as they were.
    ///
    /// At most one key names another one as its predecessor: a second one is refused as a duplicate.
    ///
    /// # Errors
    /// [`StoreError::not_found`] when none of `ids` is there; [`StoreError::not_applied`] when `plan`
    /// says no to any of them; [`StoreError::duplicate`] when the id, digest or predecessor of a key
    /// to be inserted is taken.
    fn change(
        &self,
        ids: &[KeyId],
        caller: Option<&OwnerId>,
        plan: KeyPlan<'_>,
    ) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;

    /// Lists keys, a page at a time. The order is by what never changes, so that a page is stable
    /// while keys are added, changed or removed around it. One query: filter, ownership and owners
    /// are of one moment. [`KeyQuery::admits`] is the plain reading of what belongs on a page.
    ///
    /// # Errors
    /// When the store could not look.
    fn list(&self, query: KeyQuery)
    -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;

    /// Finds an owner.
    ///
    /// # Errors
    /// When the store could not look.
    fn owner(&self, id: &OwnerId)
    -> impl Future<Output = Result<Option<Owner>, StoreError>> + Send;

    /// Adds or changes an owner: lets `edit` see the row, if there is one, and the caller's, answer
    /// with what it is to become, and writes that, memberships included. The id is never changed.
    /// Returns the owner as it now stands.
    ///
    /// # Errors
    /// [`StoreError::not_applied`] when `edit` says no; [`StoreError::unsupported`] when owners are
    /// kept elsewhere.
    fn change_owner(
        &self,
        id: &OwnerId,
        caller: Option<&OwnerId>,
        edit: OwnerEdit<'_>,
    ) -> impl Future<Output = Result<Owner, StoreError>> + Send;
}

/// One use of a key, to be written by [`KeyStore::record_uses`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Which key.
    pub key: KeyId,
    /// Its digest, for stores that know their rows by it.
    pub digest: TokenDigest,
    /// When it was used.
    pub at: DateTime<Utc>,
    /// Written only if the stored time is absent or earlier than this; at most `at`.
    pub if_before: DateTime<Utc>,
}

/// What a store's schema can express. What it can't, the manager answers with
/// `not supported by this schema`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Keys have an active flag.
    pub activation: bool,
    /// Names, descriptions, tags and the like are kept, and can be changed.
    pub metadata: bool,
    /// `last_used_at` is kept.
    pub last_use: bool,
    /// Owners are kept here and can be changed here.
    pub owners: bool,
    /// A key names the one that it replaced: what a rotation with a grace needs.
    pub lineage: bool,
    /// Scopes are kept. A key that has some is refused without it.
    pub scopes: bool,
    /// Keys have no id of their own: a key's is [made of its digest](KeyId::of_digest), whichever it was
    /// given.
    pub derived_ids: bool,
    /// By this schema's own rule any active owner may hold a working key: what
    /// [`issuing`](crate::AuthenticatorBuilder::issuing) is unless it is set.
    pub any_owner: bool,
}

impl Capabilities {
    /// Everything: what our own schemas express.
    #[must_use]
    pub fn all() -> Self {
        Self {
            activation: true,
            metadata: true,
            last_use: true,
            owners: true,
            lineage: true,
            scopes: true,
            ..Self::minimal()
        }
    }

    /// Nothing but adding, finding, listing and deleting keys. Set the fields that hold beside that.
    #[must_use]
    pub fn minimal() -> Self {
        Self {
            activation: false,
            metadata: false,
            last_use: false,
            owners: false,
            lineage: false,
            scopes: false,
            derived_ids: false,
            any_owner: false,
        }
    }
}
