//! The one decision about a credential, usable with Tower and without.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    authenticated::AuthenticatedKey,
    config::{AuthenticatorBuilder, Settings},
    manager::KeyManager,
    rejection::{Rejection, RejectionKind},
};
use crate::{
    state::store::{DynRepository, DynStore, KeyRepository, KeyStore},
    value::{
        digest::{DigestAlgorithm, TokenDigest},
        key::{KeyId, Status},
        owner::OwnerId,
        token,
    },
};

/// What a revocation is about: whatever was read about it before is outdated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// One token: also that there was none.
    Digest(TokenDigest),
    /// One key.
    Key(KeyId),
    /// All keys of an owner.
    Owner(OwnerId),
}

/// How a decision may be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// From the cache, where it is current.
    #[default]
    Cached,
    /// Admission only by a store read that began after the request did.
    Authoritative,
}

/// Decides whether a token may pass. Cheap to clone; clones share the cache and the store.
#[derive(Clone)]
pub struct Authenticator {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) store: Arc<dyn DynStore>,
    pub(super) repository: Option<Arc<dyn DynRepository>>,
    pub(super) settings: Settings,
}

impl Inner {
    /// Outdates all that was read about `subjects` before this call.
    pub(super) fn invalidate(&self, subjects: &[Subject]) {
        let _ = subjects;
    }
}

impl Authenticator {
    /// Starts building an authenticator over a store whose keys it also manages.
    #[must_use]
    pub fn builder(store: impl KeyRepository) -> AuthenticatorBuilder {
        AuthenticatorBuilder::managed(store)
    }

    /// Starts building an authenticator over a store that can only look keys up; what
    /// [`keys`](Self::keys) then answers is that this store does not support management.
    #[must_use]
    pub fn read_only(store: impl KeyStore) -> AuthenticatorBuilder {
        AuthenticatorBuilder::read_only(store)
    }

    pub(super) fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Decides about a token.
    ///
    /// # Errors
    /// Why the token may not pass.
    pub async fn authenticate(&self, token: &str) -> Result<AuthenticatedKey, Rejection> {
        let digest = self.digest_of(token)?;
        match self.cached(&digest) {
            Some(decision) => decision,
            None => self.resolve(digest, Freshness::Cached).await,
        }
    }

    /// Judges an admitted key again, as of now: for websockets, long streams, and work that waited
    /// in a queue.
    ///
    /// # Errors
    /// Why the key may not pass any more.
    pub async fn recheck(&self, key: &AuthenticatedKey) -> Result<AuthenticatedKey, Rejection> {
        let digest = *key.key().digest();
        match self.cached(&digest) {
            Some(decision) => decision,
            None => self.resolve(digest, Freshness::Cached).await,
        }
    }

    /// Issues, changes and lists the keys of this authenticator's store.
    #[must_use]
    pub fn keys(&self) -> KeyManager {
        KeyManager::new(Arc::clone(&self.inner))
    }

    /// Outdates all that was read about `subject` before this call: for stores without a feed, when
    /// the user's own code changed them. No authentication that begins after it returned uses it.
    pub fn revoke(&self, subject: &Subject) {
        let _ = subject;
    }

    /// Outdates all that was read before this call.
    pub fn flush(&self) {}

    /// The hash function by which the store knows its tokens.
    pub(crate) fn digest_algorithm(&self) -> DigestAlgorithm {
        self.inner.store.digest_algorithm()
    }

    /// The digest by which the store knows `token`, unless its checksum tells that there is none.
    pub(crate) fn digest_of(&self, token: &str) -> Result<TokenDigest, Rejection> {
        let prefixes = self.inner.settings.checksummed_prefixes.iter();
        for prefix in prefixes {
            if token::checksum_holds(token, prefix) == Some(false) {
                return Err(Rejection::new(RejectionKind::Unknown));
            }
        }
        Ok(TokenDigest::of(self.inner.store.digest_algorithm(), token))
    }

    /// The decision, if the cache can make it: no await, no box, no store.
    pub(crate) fn cached(
        &self,
        digest: &TokenDigest,
    ) -> Option<Result<AuthenticatedKey, Rejection>> {
        let _ = digest;
        None
    }

    /// The decision, through the store if need be.
    pub(crate) fn resolve(
        &self,
        digest: TokenDigest,
        freshness: Freshness,
    ) -> impl Future<Output = Result<AuthenticatedKey, Rejection>> + Send + 'static {
        let inner = Arc::clone(&self.inner);
        let _ = freshness;
        async move {
            let found = inner.store.find(digest).await;
            let record = found
                .map_err(|_| Rejection::new(RejectionKind::StoreUnavailable))?
                .ok_or_else(|| Rejection::new(RejectionKind::Unknown))?;
            match record.status_at(inner.settings.clock.now()) {
                Status::Usable => Ok(AuthenticatedKey::new(Arc::new(record))),
                Status::Expired => Err(Rejection::new(RejectionKind::Expired)),
                Status::KeyInactive => Err(Rejection::new(RejectionKind::KeyInactive)),
                Status::OwnerInactive => Err(Rejection::new(RejectionKind::OwnerInactive)),
            }
        }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

/// Keeps the access recorder reachable for a clean end. Dropping it detaches the recorder, it does
/// not stop it.
#[derive(Debug)]
#[must_use = "call `shutdown` at the end, or the last uses may go unwritten"]
pub struct Guard {}

impl Guard {
    pub(super) fn new() -> Self {
        Self {}
    }

    /// Writes what the recorder still holds, for at most `deadline`.
    pub async fn shutdown(self, deadline: Duration) {
        let _ = deadline;
    }
}
