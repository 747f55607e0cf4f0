//! How the revocation feed is, for whoever operates the service.

use std::{fmt, sync::atomic::Ordering};

use super::{News, Shared, lock};
use crate::usecase::authenticator::Authenticator;

/// How the revocation feed is: an operator's signal. Admissions do not go by it, but by the lease
/// behind it, so that asking less often changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedHealth {
    /// There is none: a change made elsewhere holds within the fresh TTL.
    Off,
    /// It was not heard yet, and nothing went wrong yet. The short TTL holds.
    Starting,
    /// It is known to work: a change made elsewhere holds as soon as the feed tells of it.
    Healthy,
    /// It is not known to work. The short TTL holds, and it is being tried again.
    #[non_exhaustive]
    Unhealthy {
        /// What is wrong, in one line.
        reason: Box<str>,
    },
}

impl FeedHealth {
    /// Whether the feed is known to work.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        *self == Self::Healthy
    }
}

impl fmt::Display for FeedHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Starting => f.write_str("starting"),
            Self::Healthy => f.write_str("healthy"),
            Self::Unhealthy { reason } => write!(f, "unhealthy: {reason}"),
        }
    }
}

impl Authenticator {
    /// How the revocation feed is: a signal for an operator, such as a readiness probe or an alert.
    #[must_use]
    pub fn feed_health(&self) -> FeedHealth {
        self.inner.revocation.health()
    }
}

impl Shared {
    pub(super) fn health(&self) -> FeedHealth {
        let lease = self.cache.feed_lease();
        let is_held = lease.is_some_and(|end| self.clock.monotonic() < end);
        let reason = match lock(&self.news).clone() {
            // A feed that begins to listen has a lease before it has shown that it hears.
            News::Alive if is_held => return FeedHealth::Healthy,
            News::None if is_held || lease.is_none() => return FeedHealth::Starting,
            News::Gap(reason) => reason,
            _ if self.is_working.load(Ordering::SeqCst) => "it was not heard in time".into(),
            _ => "its runtime ended; the next read of the store starts it on another".into(),
        };
        FeedHealth::Unhealthy { reason }
    }
}
