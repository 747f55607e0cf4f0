//! Issues, changes and lists keys.
//!
//! # Rules
//! 1. Every change commits, then outdates what this process had read about it, then returns. One
//!    whose outcome is unknown, as its future was dropped on the way for one, is made good in the
//!    background, and until then nothing is admitted or refused about what it touches.
//! 2. Policies judge the owner's stored row, inside the store's own transaction, never the values
//!    that were passed in.
//! 3. Times are kept to the microsecond, so that every store gives back what was returned.

mod bulk;
mod change;
#[cfg(feature = "axum")]
mod count;
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
mod transact;
mod update;

use std::{fmt, sync::Arc};

use chrono::{DateTime, SubsecRound as _, Utc};

use self::judgement::Judgement;
use super::{inner::Inner, maintenance::Places};
use crate::{
    state::store::DynRepository,
    value::{owner::OwnerId, subject::Subject},
};

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
/// Every method is safe to cancel: a change whose future is dropped was either made or not, and is made
/// good as one whose [outcome is unknown](KeyError::is_outcome_unknown). So is one that a panic of the
/// store ends.
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

    /// This manager, limited to what `caller` may see and do, in place of a caller that was named
    /// before: a key that they can't see is not found, one that they see and may not change is
    /// forbidden. They are judged by their stored row, in the query that finds the key or the
    /// transaction that changes it; who is not stored, or not active, sees nothing.
    ///
    /// [`create`](Self::create) and [`rotate`](Self::rotate) hand out a secret, so a caller may do
    /// that for their own keys alone, unless they are a superuser. Changes to owners,
    /// [`import`](Self::import), [`delete_expired`](Self::delete_expired) and
    /// [`deactivate_unused`](Self::deactivate_unused) are for superusers,
    /// [`revoke_all`](Self::revoke_all) and [`owner`](Self::owner) for them and for the owner.
    #[must_use]
    pub fn on_behalf_of(&self, caller: impl Into<OwnerId>) -> Self {
        Self { inner: Arc::clone(&self.inner), caller: Some(caller.into()) }
    }

    fn judgement(&self) -> Judgement<'_> {
        let settings = &self.inner.settings;
        Judgement::new(&settings.issuing, self.caller.as_ref(), settings.platform.as_ref())
    }

    /// Takes room for a change of so many rows, should it be lost, once what was lost about `subjects`
    /// before is made good.
    async fn room(&self, rows: usize, subjects: &[Subject]) -> Result<Places, KeyError> {
        self.settled(subjects).await?;
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        self.inner.settler.places(rows).ok_or_else(KeyError::too_many_lost)
    }

    /// Makes good what was lost about `subjects`, and about the caller, before; an error if it can't
    /// be: a change that followed would be undone by it.
    async fn settled(&self, subjects: &[Subject]) -> Result<(), KeyError> {
        let caller = self.caller.iter().cloned().map(Subject::Owner);
        let about: Vec<Subject> = subjects.iter().cloned().chain(caller).collect();
        let is_settled = self.inner.settler.settle_before(&about).await;
        if is_settled { Ok(()) } else { Err(KeyError::unsettled()) }
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
        f.debug_struct("KeyManager")
            .field("managed", &managed)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

fn to_micros(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}
