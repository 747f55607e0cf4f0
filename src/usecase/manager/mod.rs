//! Issues, changes and lists keys.
//!
//! # Rules
//! 1. Every change commits, then outdates what this process had read about it, then returns; also
//!    when its outcome is unknown, or when its future was dropped on the way.
//! 2. Policies judge the owner's stored row, inside the store's own transaction, never the values
//!    that were passed in.
//! 3. Times are kept to the microsecond, so that every store gives back what was returned.

mod bulk;
mod change;
mod create;
mod error;
mod import;
mod judgement;
mod ledger;
mod limits;
mod list;
mod new_key;
mod owners;
mod policy;
mod report;
mod rotate;
mod settings;
mod settle;
mod tell;
mod update;

use std::{fmt, sync::Arc};

use chrono::{DateTime, SubsecRound as _, Utc};

use tokio::runtime::Handle;

use self::judgement::Judgement;
use super::{inner::Inner, maintenance::Places};
use crate::{state::store::DynRepository, value::owner::OwnerId};

pub use error::KeyError;
pub use import::{Imported, ImportedKey};
pub use list::{KeyPage, Page};
pub use new_key::NewKey;
pub use owners::OwnerUpdate;
pub use policy::Issuing;
pub use report::{KeyReport, ReportSettings};
pub use rotate::Rotation;
pub use update::KeyUpdate;

/// Issues, changes and lists the keys of one store. Cheap to clone.
///
/// Every method is safe to cancel: a change whose future is dropped was either made or not, and
/// whatever this process had cached about it is outdated in both cases.
#[derive(Clone)]
pub struct KeyManager {
    inner: Arc<Inner>,
    /// On whose behalf; `None` is the service itself, which may do all.
    caller: Option<OwnerId>,
}

impl KeyManager {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, caller: None }
    }

    /// This manager, limited to what `caller` may see and do: a key that they can't see is not found,
    /// one that they see and may not change is forbidden. They are judged by their stored row, in the
    /// same query that looks at the key; who is not stored, or not active, sees nothing.
    ///
    /// [`create`](Self::create) and [`rotate`](Self::rotate) hand out a secret, so a caller may do
    /// that for their own keys alone, unless they are a superuser. Changes to owners,
    /// [`import`](Self::import), [`delete_expired`](Self::delete_expired) and
    /// [`deactivate_unused`](Self::deactivate_unused) are for superusers,
    /// [`revoke_all`](Self::revoke_all) for them and for the owner.
    #[must_use]
    pub fn on_behalf_of(&self, caller: impl Into<OwnerId>) -> Self {
        Self { inner: Arc::clone(&self.inner), caller: Some(caller.into()) }
    }

    fn judgement(&self) -> Judgement<'_> {
        let settings = &self.inner.settings;
        Judgement::new(&settings.issuing, self.caller.as_ref(), settings.platform.as_ref())
    }

    /// Takes room for a change of so many keys, should it be lost: each with a relative, and twice
    /// what a new one among them is known by.
    async fn places(&self, keys: usize) -> Result<Places, KeyError> {
        let settler = &self.inner.settler;
        if !settler.is_idle() {
            if Handle::try_current().is_ok() {
                settler.rouse();
            } else {
                settler.settle_inline().await;
            }
        }
        let places = u32::try_from(2 * keys + 2).unwrap_or(u32::MAX);
        settler.places(places).ok_or_else(KeyError::too_many_lost)
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
