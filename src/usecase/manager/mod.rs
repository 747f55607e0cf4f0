//! Issues, changes and lists keys.
//!
//! # Rules
//! 1. Every change commits, then outdates what this process had read about it, then returns; also
//!    when its outcome is unknown, or when its future was dropped on the way.
//! 2. Policies judge the owner's stored row, inside the store's own transaction, never the values
//!    that were passed in.
//! 3. Times are kept to the microsecond, so that every store gives back what was returned.

mod change;
mod create;
mod error;
mod limits;
mod list;
mod owners;
mod policy;
mod settings;
mod settle;
mod update;

use std::{fmt, sync::Arc};

use chrono::{DateTime, SubsecRound as _, Utc};

use super::authenticator::Inner;
use crate::{
    state::store::DynRepository,
    value::key::{KeyId, Record},
};

pub use create::NewKey;
pub use error::KeyError;
pub use list::{KeyPage, Page};
pub use owners::OwnerUpdate;
pub use policy::Issuing;
pub use update::KeyUpdate;

/// Issues, changes and lists the keys of one store. Cheap to clone.
///
/// Every method is safe to cancel: a change whose future is dropped was either made or not, and
/// whatever this process had cached about it is outdated in both cases.
#[derive(Clone)]
pub struct KeyManager {
    inner: Arc<Inner>,
}

impl KeyManager {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Finds a key by its id, with its owner.
    ///
    /// # Errors
    /// `is_not_found` when there is none; `is_unavailable` when the store could not look.
    pub async fn get(&self, id: KeyId) -> Result<Record, KeyError> {
        let found = self.repository()?.get(id).await.map_err(KeyError::reading)?;
        found.ok_or_else(KeyError::no_such_key)
    }

    fn repository(&self) -> Result<&dyn DynRepository, KeyError> {
        self.inner.repository.as_deref().ok_or_else(|| {
            KeyError::unsupported(
                "this authenticator only reads its store: build it with \
                 `Authenticator::builder` to manage keys",
            )
        })
    }

    /// The calendar, as coarse as the coarsest store keeps it.
    fn now(&self) -> DateTime<Utc> {
        to_micros(self.inner.settings.clock.now())
    }
}

impl fmt::Debug for KeyManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let managed = self.inner.repository.is_some();
        f.debug_struct("KeyManager").field("managed", &managed).finish_non_exhaustive()
    }
}

fn to_micros(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}
