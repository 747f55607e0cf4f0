//! What is counted and timed, for whoever watches the service.
//!
//! This room alone knows of the feature `metrics`: without it a [`Meter`] is nothing and does
//! nothing, and the code around it stays the same.
//!
//! # Rules
//! 1. Counting makes no shared write: each thread has a stripe of its own.
//! 2. Names and labels are constants of the catalogue. Nothing of a request, a key or an owner ever
//!    becomes one, so that there are as many series on the last day as on the first.
//! 3. What is published is the difference to what was published before, so that several
//!    authenticators of one process add up, and a recorder that was installed late hears it all.

#[cfg(feature = "metrics")]
mod catalogue;
#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;
#[cfg(feature = "metrics")]
mod stripes;

#[cfg(not(feature = "metrics"))]
pub(crate) use off::{Meter, Timer};
#[cfg(feature = "metrics")]
pub(crate) use on::{Meter, Timer};

/// How many kinds of refusals there may be: they are counted by their place among all kinds, as
/// this floor does not know them.
pub(crate) const MAX_REASONS: usize = 16;

/// What is counted when it happens, refusals apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "nobody lists them then"))]
pub(crate) enum Count {
    /// A request passed.
    Admitted,
    /// The cache knew the key.
    Hit,
    /// A thread knew the key by itself, and the request passed: both of the above at once.
    Known,
    /// The cache knew that there is no such key.
    Negative,
    /// The cache could not tell.
    Miss,
    /// A read of the store found a key.
    ReadFound,
    /// A read of the store found none.
    ReadAbsent,
    /// A read of the store failed.
    ReadFailed,
    /// A read of the store took too long.
    ReadTimedOut,
    /// Whoever read gave up.
    ReadAbandoned,
    /// A caller joined a read that was under way.
    Joined,
    /// A query read many digests at once.
    Batch,
    /// Something cached was outdated by this process itself.
    RevokedHere,
    /// The same, by the revocation feed.
    RevokedByFeed,
    /// The feed may have missed something.
    FeedGap,
}

/// What is not counted as it happens, but read off each time before publishing.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "nobody reads them then"))]
pub(crate) struct Levels {
    /// Last uses written, since the authenticator was built.
    pub(crate) uses_written: u64,
    /// Last uses that found the recorder's queue full, since then.
    pub(crate) uses_turned_away: u64,
    /// Last uses that were queued and given up, since then.
    pub(crate) uses_lost: u64,
    /// Later expiries written, since then.
    pub(crate) renewals_written: u64,
    /// Uses that found no room for a later expiry, since then.
    pub(crate) renewals_turned_away: u64,
    /// Later expiries that were too late for their rows, since then.
    pub(crate) renewals_overtaken: u64,
    /// Later expiries that were given up, since then.
    pub(crate) renewals_given_up: u64,
    /// Keys in the cache.
    pub(crate) present: usize,
    /// Tokens in the cache that are known to be none.
    pub(crate) absent: usize,
    /// Reads of the store under way.
    pub(crate) in_flight: usize,
    /// Last uses that wait to be written.
    pub(crate) queued: usize,
    /// Keys, owners and tokens that are denied until a change is settled.
    pub(crate) suspects: usize,
    /// Whether the revocation feed can be relied on; `None` where there is none.
    pub(crate) feed: Option<bool>,
}
