//! The one decision about a credential, usable with Tower and without.

mod decision;

use std::{fmt, sync::Arc};

use super::{
    authenticated::AuthenticatedKey,
    config::AuthenticatorBuilder,
    inner::Inner,
    manager::KeyManager,
    rejection::{Rejection, RejectionKind},
};
use crate::{
    state::store::{KeyRepository, KeyStore},
    value::{
        digest::{DigestAlgorithm, TokenDigest},
        format,
        meter::Count,
        subject::Subject,
        token::is_blank,
    },
};

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
    pub(super) inner: Arc<Inner>,
}

impl Authenticator {
    /// Starts building an authenticator over a store whose keys it also manages.
    pub fn builder(store: impl KeyRepository) -> AuthenticatorBuilder {
        AuthenticatorBuilder::managed(store)
    }

    /// Starts building an authenticator over a store that can only look keys up; what
    /// [`keys`](Self::keys) then answers is that this store does not support management.
    pub fn read_only(store: impl KeyStore) -> AuthenticatorBuilder {
        AuthenticatorBuilder::read_only(store)
    }

    pub(super) fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Decides about a token, from the cache or by a read of the store that is shared with others.
    ///
    /// It may be dropped at any time: on a runtime the read goes on, and others have its result.
    /// Without a tokio runtime the read is made inline, and no store timeout holds.
    ///
    /// # Panics
    /// On a tokio runtime whose timers are disabled: build it with `enable_time` or `enable_all`.
    ///
    /// # Errors
    /// Why the token may not pass.
    pub async fn authenticate(&self, token: &str) -> Result<AuthenticatedKey, Rejection> {
        // No header carries a token with blanks, and none may learn of one here.
        let has_blanks = token.bytes().any(is_blank);
        let known = if has_blanks { Err(None) } else { self.admit_known(token.as_bytes()) };
        match known {
            Ok(key) => Ok(key),
            Err(sighting) => {
                let digest = self.digest_of(token);
                self.told(self.decide(digest, Freshness::Cached, sighting).await)
            }
        }
    }

    /// Decides about a token by a read of the store that begins after this call, for what must not
    /// rest on the cache at all. What the cache can refuse, it still refuses. The result is cached.
    ///
    /// # Errors
    /// Why the token may not pass.
    pub async fn authenticate_authoritative(
        &self,
        token: &str,
    ) -> Result<AuthenticatedKey, Rejection> {
        self.told(self.decide(self.digest_of(token), Freshness::Authoritative, None).await)
    }

    /// Judges an admitted key again, as of now: for websockets, long streams, and work that waited
    /// in a queue. Dropping it is as harmless as dropping [`authenticate`](Self::authenticate).
    ///
    /// # Errors
    /// Why the key may not pass any more.
    pub async fn recheck(&self, key: &AuthenticatedKey) -> Result<AuthenticatedKey, Rejection> {
        self.told(match self.decide(Ok(*key.key().digest()), Freshness::Cached, None).await {
            // The token may have been given to another key since.
            Ok(now) if now.id() != key.id() => Err(Rejection::new(RejectionKind::Unknown)),
            decision => decision,
        })
    }

    /// Issues, changes and lists the keys of this authenticator's store.
    #[must_use]
    pub fn keys(&self) -> KeyManager {
        KeyManager::new(Arc::clone(&self.inner))
    }

    /// Outdates all that was read about `subject` before this call: for stores without a feed, when
    /// the user's own code changed them. Call it after the commit; no authentication that begins
    /// after it returned uses what was read before.
    pub fn revoke(&self, subject: &Subject) {
        self.inner.invalidate(std::slice::from_ref(subject));
    }

    /// Outdates all that was read before this call.
    pub fn flush(&self) {
        self.inner.meter.count(Count::RevokedHere);
        self.inner.cache.flush();
    }

    /// The hash function by which the store knows its tokens.
    pub(crate) fn digest_algorithm(&self) -> DigestAlgorithm {
        self.inner.store.digest_algorithm()
    }

    /// The digest by which the store knows `token`, unless its checksum tells that there is none.
    pub(crate) fn digest_of(&self, token: &str) -> Result<TokenDigest, Rejection> {
        let prefixes = self.inner.settings.checksummed_prefixes.iter();
        for prefix in prefixes {
            if format::checksum_holds(token, prefix) == Some(false) {
                return Err(Rejection::new(RejectionKind::Unknown));
            }
        }
        Ok(TokenDigest::of(self.inner.store.digest_algorithm(), token))
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}
