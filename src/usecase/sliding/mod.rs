//! Moves the expiry of a key on as the key is used, and writes it down off the request path.
//!
//! # Rules
//! 1. An admission renews a key if it gains more than the least gain; never one that does not expire,
//!    and never one that has expired. A use that is not due costs a comparison.
//! 2. A renewal counts at once for what is cached of the key, and is queued to be written. It stands by
//!    what was read: a read that does not show it yet is judged by it only while its expiry is the one
//!    that the renewal moves on.
//! 3. It is written only over the very expiry that was read, of a key that is active, whose owner is, and
//!    that no other key has replaced: a key that was ended meanwhile, here or elsewhere, stays ended,
//!    and what a row shows instead is read anew.
//! 4. A write that failed is tried again, on the row as it stands then, for about a minute. Then the key
//!    is judged by the stored expiry again. Nothing is refused, and nothing suspected, on account of a
//!    renewal that is lost: it gives a key nothing but time, which its next use gives again.
//! 5. What waits is bounded; a use that finds no room renews nothing, and leaves it to the next one.

mod batch;
mod book;
mod renewer;
mod worker;
mod writer;

use std::time::Duration;

use chrono::TimeDelta;

pub(super) use self::renewer::Renewals;
use super::config::{AuthenticatorBuilder, ConfigError};
use crate::value::{key::Slide, trace::warn};

/// How keys' expiries move on as they are used: [`AuthenticatorBuilder::sliding_expiry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct SlidingExpiry {
    ttl: Duration,
    max_lifetime: Option<Duration>,
    min_gain: Duration,
}

impl SlidingExpiry {
    /// A key that is used expires `ttl` later, if that is more than a minute later than it would;
    /// however long that goes on.
    pub fn of(ttl: Duration) -> Self {
        Self { ttl, max_lifetime: None, min_gain: Duration::from_secs(60) }
    }

    /// How long after it was made a key can be renewed to at most; without end by default. It ends no
    /// key earlier than that has been given already.
    pub fn max_lifetime(self, max: impl Into<Option<Duration>>) -> Self {
        Self { max_lifetime: max.into(), ..self }
    }

    /// By how much a renewal has to move the expiry on: by *more* than this; 60 s by default, as in
    /// knox. It is what bounds the writes: one per key and span at most.
    pub fn min_gain(self, gain: Duration) -> Self {
        Self { min_gain: gain, ..self }
    }

    pub(super) fn checked(self) -> Result<Slide, ConfigError> {
        /// A century: who wants more wants keys that do not expire.
        const MAX_TTL: TimeDelta = TimeDelta::days(36_525);
        let ttl = micros(self.ttl).filter(|ttl| *ttl <= MAX_TTL);
        let ttl = ttl.ok_or_else(|| {
            ConfigError::new(
                "the lifetime of `sliding_expiry` is above a century: give keys no expiry instead",
            )
        })?;
        let min_gain = micros(self.min_gain).filter(|gain| *gain < ttl).ok_or_else(|| {
            ConfigError::new(format!(
                "`sliding_expiry` would never renew a key: give it a lifetime that is longer than \
                 {:?}, or a smaller `min_gain`",
                self.min_gain
            ))
        })?;
        Ok(Slide::new(ttl, self.max_lifetime.and_then(micros), min_gain))
    }
}

/// Whether there is a store that can be written to; warns if there is none.
pub(super) fn is_possible(is_managed: bool) -> bool {
    if !is_managed {
        warn(
            "`sliding_expiry` is off, as this authenticator only reads its store",
            "build it with `Authenticator::builder`",
        );
    }
    is_managed
}

/// What the calendar can count; anything longer is `None`.
fn micros(span: Duration) -> Option<TimeDelta> {
    i64::try_from(span.as_micros()).ok().map(TimeDelta::microseconds)
}

impl AuthenticatorBuilder {
    /// Moves the expiry of a key on as the key is used, as knox's AUTO_REFRESH does; off by default.
    ///
    /// The renewal counts at once for the request that made it and those after it in this process,
    /// and is written to the store in the background, over the very expiry that was read: a key that
    /// was ended meanwhile, here or elsewhere, stays so. Keys without an expiry stay without one. An
    /// expiry that was set by hand moves on as any other: to end a key, deactivate or delete it. One that
    /// was replaced by a [rotation](crate::KeyManager::rotate) is not renewed in its grace.
    ///
    /// It takes a store that can be managed. With [`Authenticator::read_only`], and where the store
    /// answers that it may not write, a warning says so, and nothing is renewed.
    ///
    /// [`Authenticator::read_only`]: crate::Authenticator::read_only
    pub fn sliding_expiry(mut self, sliding: SlidingExpiry) -> Self {
        self.sliding = Some(sliding);
        self
    }
}
