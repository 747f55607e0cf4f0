//! What an authenticator and its key manager share.

use std::sync::Arc;

use super::{
    access::Recorder,
    authenticated::AuthenticatedKey,
    config::Settings,
    maintenance::{Settler, Sweeper, Upkeep},
    rejection::{Rejection, RejectionKind},
    revocation::Revocation,
    sliding::Renewals,
};
use crate::{
    state::{
        cache::{Cache, ReadError},
        store::{DynRepository, DynStore},
    },
    value::{
        clock::Reading,
        key::{Record, SharedRecord, Status},
        meter::{Count, Meter},
        subject::Subject,
    },
};

/// What an authenticator's clones and its key managers share.
///
/// On cache lines of its own, as every hit reads it: no thread's writes beside it are to take them away.
#[repr(align(128))]
pub(super) struct Inner {
    pub(super) cache: Arc<Cache>,
    pub(super) store: Arc<dyn DynStore>,
    pub(super) repository: Option<Arc<dyn DynRepository>>,
    pub(super) settings: Settings,
    pub(super) recorder: Recorder,
    pub(super) revocation: Revocation,
    pub(super) settler: Arc<Settler>,
    pub(super) meter: Meter,
    pub(super) upkeep: Upkeep,
    pub(super) renewals: Renewals,
    pub(super) sweeper: Sweeper,
}

impl Inner {
    /// Outdates all that was read about `subjects` before this call.
    pub(super) fn invalidate(&self, subjects: &[Subject]) {
        self.meter.count(Count::RevokedHere);
        self.cache.revoke(subjects);
    }

    /// The judgement of a record, now: however old it is, never more lenient than its words.
    pub(super) fn judge(
        record: &Arc<Record>,
        now: &Reading,
    ) -> Result<AuthenticatedKey, Rejection> {
        let kind = match record.status_at(now.wall) {
            Status::Usable => {
                return Ok(AuthenticatedKey::new(SharedRecord::new(Arc::clone(record))));
            }
            Status::Expired => RejectionKind::Expired,
            Status::KeyInactive => RejectionKind::KeyInactive,
            Status::OwnerInactive => RejectionKind::OwnerInactive,
        };
        Err(Rejection::new(kind).about(record.key().id()))
    }

    /// Trouble of the store is never an answer about the key.
    pub(super) fn refusal_of(&self, error: ReadError) -> Rejection {
        Rejection::new(match error {
            ReadError::Unavailable | ReadError::Unreadable => RejectionKind::StoreUnavailable,
            ReadError::TimedOut => RejectionKind::TimedOut,
            ReadError::Overloaded => RejectionKind::Overloaded,
            ReadError::Suspect => {
                self.settler.rouse();
                RejectionKind::Suspect
            }
        })
    }
}
