//! A key that was admitted, as a request's extensions carry it.

use std::{any::Any, fmt, sync::Arc};

use crate::value::{
    key::{ApiKey, KeyId, Record},
    owner::Owner,
};

/// A key that was admitted: proof that an authenticator judged it, and what it knew of it then.
///
/// Cheap to clone. Nothing outside this crate can make one (but `test-util`'s
/// `AuthenticatedKey::for_test`), and it can't be deserialized. It is a judgement of one moment:
/// on a websocket or a long stream, ask `Authenticator::recheck` again.
#[derive(Clone)]
pub struct AuthenticatedKey(Arc<Record>);

impl AuthenticatedKey {
    pub(crate) fn new(record: Arc<Record>) -> Self {
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

impl fmt::Debug for AuthenticatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatedKey")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("owner", self.owner().id())
            .finish_non_exhaustive()
    }
}
