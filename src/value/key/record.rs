//! A key with its owner, and the one judgement of whether it may be used now.

use std::{any::Any, fmt, hash::Hash, sync::Arc};

use chrono::{DateTime, Utc};

use super::{ApiKey, KeyId};
use crate::value::owner::Owner;

/// What a store answers: a key, its owner, and whatever a custom store attached.
#[derive(Clone)]
pub struct Record {
    key: ApiKey,
    owner: Arc<Owner>,
    /// Twice behind a pointer, so that a record without any spends 8 bytes on it and not 16.
    data: Option<Arc<Box<dyn Any + Send + Sync>>>,
}

impl Record {
    /// A key with its owner's row. Stores that share one `Arc` between an owner's keys save memory.
    #[must_use]
    pub fn new(key: ApiKey, owner: impl Into<Arc<Owner>>) -> Self {
        Self { key, owner: owner.into(), data: None }
    }

    /// Attaches data of the user's own type, to be read back with `AuthenticatedKey::data`. It is dropped
    /// by whoever lets go of it last: a request, the cache, or a thread that ends.
    #[must_use]
    pub fn with_data<T: Any + Send + Sync>(mut self, data: T) -> Self {
        self.data = Some(Arc::new(Box::new(data)));
        self
    }

    /// The key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.key.id
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    /// Its owner.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What the store attached, if it is a `T`.
    #[must_use]
    pub fn data<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.data.as_ref()?.downcast_ref()
    }

    /// This record with another expiry; what it says of the key apart from that, it says as before.
    pub(crate) fn expiring_at(&self, expires_at: DateTime<Utc>) -> Self {
        let mut other = self.clone();
        other.key.expires_at = Some(expires_at);
        other
    }

    /// The one judgement: may this key be used at `now`? The order is knox's, where expiry is
    /// judged before the owner's status, and then Smarter's, which asks knox before it looks at the
    /// key's own flag.
    #[must_use]
    pub fn status_at(&self, now: DateTime<Utc>) -> Status {
        if self.key.is_expired_at(now) {
            Status::Expired
        } else if !self.owner.is_active() {
            Status::OwnerInactive
        } else if !self.key.is_active {
            Status::KeyInactive
        } else {
            Status::Usable
        }
    }

    /// All of the key that a revocation can change: digest, owner, account, active flag, expiry and
    /// scopes. `last_used_at`, names and tags do not count.
    pub(crate) fn standing_of_key(&self) -> impl PartialEq + Hash + '_ {
        let key = &self.key;
        let of = (key.id, &key.digest, &key.owner, key.account(), self.owner.id());
        (of, key.is_active, key.expires_at, &key.scopes)
    }

    /// All of its owner that a revocation can change: flags and memberships.
    pub(crate) fn standing_of_owner(&self) -> impl PartialEq + Hash + '_ {
        let owner = &self.owner;
        (owner.is_active(), owner.is_staff(), owner.is_superuser(), owner.accounts())
    }

    /// Whether the two agree in all of that.
    pub(crate) fn same_standing(&self, other: &Self) -> bool {
        self.standing_of_key() == other.standing_of_key()
            && self.standing_of_owner() == other.standing_of_owner()
    }
}

/// What only keys made for tests need.
#[cfg(feature = "test-util")]
impl Record {
    pub(crate) fn key_mut(&mut self) -> &mut ApiKey {
        &mut self.key
    }

    pub(crate) fn set_owner(&mut self, owner: Owner) {
        self.key.owner = owner.id().clone();
        self.owner = Arc::new(owner);
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("key", &self.key)
            .field("owner", &self.owner)
            .field("has_data", &self.data.is_some())
            .finish()
    }
}

/// Whether a record may be used, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Admitted.
    Usable,
    /// Past its expiry.
    Expired,
    /// Deactivated.
    KeyInactive,
    /// Its owner is inactive.
    OwnerInactive,
}
