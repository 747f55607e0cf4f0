//! A key that was admitted, as a request's extensions carry it.

#[cfg(feature = "test-util")]
use std::sync::Arc;
use std::{any::Any, fmt};

#[cfg(feature = "test-util")]
use chrono::DateTime;

#[cfg(feature = "test-util")]
use crate::value::{
    digest::{DigestAlgorithm, TokenDigest},
    key::Record,
};
use crate::value::{
    key::{ApiKey, KeyId, SharedRecord},
    owner::Owner,
};

/// A key that was admitted: proof that an authenticator judged it, and what it knew of it then.
///
/// Cheap to clone. Nothing outside this crate can make one (but `test-util`'s
/// `AuthenticatedKey::for_test`), and it can't be deserialized. It is a judgement of one moment:
/// on a websocket or a long stream, ask `Authenticator::recheck` again.
#[derive(Clone)]
pub struct AuthenticatedKey(SharedRecord);

impl AuthenticatedKey {
    pub(crate) fn new(record: SharedRecord) -> Self {
        Self(record)
    }

    /// The key's record, as the cache or the store had it.
    #[must_use]
    pub fn key(&self) -> &ApiKey {
        self.0.key()
    }

    /// The key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.0.key().id()
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.key().name()
    }

    /// Whether the key has this scope: byte for byte, and no name stands for others.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.0.key().scopes().any(|held| held == scope)
    }

    /// Whose key it is.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        self.0.owner()
    }

    /// The data that a custom store attached, if it is a `T`.
    #[must_use]
    pub fn data<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.data()
    }
}

/// Keys for tests of one's own handlers (`test-util`).
#[cfg(feature = "test-util")]
impl AuthenticatedKey {
    /// A key that no store knows: active, named `test`, of the active staff owner `tester`.
    #[must_use]
    pub fn for_test() -> Self {
        let digest = TokenDigest::of(DigestAlgorithm::Sha256, "a token that nobody holds");
        let key = ApiKey::new(KeyId::random(), digest, "tester".into(), DateTime::UNIX_EPOCH);
        Self::of(Record::new(key.with_name("test"), Owner::staff("tester")))
    }

    /// Sets the key's name.
    #[must_use]
    pub fn with_name(self, name: impl Into<Box<str>>) -> Self {
        self.with_key(|key| key.with_name(name))
    }

    /// Sets the key's scopes.
    #[must_use]
    pub fn with_scopes<T: Into<Box<str>>>(self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.with_key(|key| key.with_scopes(scopes))
    }

    /// Changes the key by its own setters.
    #[must_use]
    pub fn with_key(self, edit: impl FnOnce(ApiKey) -> ApiKey) -> Self {
        let mut record = Record::clone(&self.0);
        *record.key_mut() = edit(record.key().clone());
        Self::of(record)
    }

    /// Sets whose key it is.
    #[must_use]
    pub fn with_owner(self, owner: Owner) -> Self {
        let mut record = Record::clone(&self.0);
        record.set_owner(owner);
        Self::of(record)
    }

    /// Attaches data, as a custom store does.
    #[must_use]
    pub fn with_data<T: Any + Send + Sync>(self, data: T) -> Self {
        Self::of(Record::clone(&self.0).with_data(data))
    }

    fn of(record: Record) -> Self {
        Self(SharedRecord::new(Arc::new(record)))
    }
}

impl fmt::Debug for AuthenticatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatedKey")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("owner", self.owner().id())
            .finish_non_exhaustive()
    }
}
