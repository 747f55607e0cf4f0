//! Which settings make no sense, and what to do instead.

use std::{fmt, time::Duration};

use crate::{state::cache::CacheSettings, value::owner::AccountId};

pub(super) fn cache(cache: &CacheSettings) -> Result<(), ConfigError> {
    /// A place in the cache has a number of 32 bits.
    const MAX_CAPACITY: usize = 1 << 31;
    /// More reads than any store serves at once.
    const MAX_READS: usize = 1 << 20;
    const MAX_STORE_TIMEOUT: Duration = Duration::from_secs(3_600);
    let sizes = [("capacity", cache.capacity), ("negative_capacity", cache.absent_capacity)];
    for (name, size) in sizes {
        if !(1..=MAX_CAPACITY).contains(&size) {
            return Err(ConfigError::new(format!(
                "{name} is {size}: set it to between 1 and {MAX_CAPACITY} entries"
            )));
        }
    }
    let spans = [
        ("fresh_ttl", cache.fresh_ttl),
        ("negative_ttl", cache.absent_ttl),
        ("store_timeout", cache.store_timeout),
    ];
    for (name, span) in spans {
        if span.is_zero() {
            return Err(ConfigError::new(format!("{name} is 0: set it to more than 0 seconds")));
        }
    }
    if cache.store_timeout > MAX_STORE_TIMEOUT {
        return Err(ConfigError::new("store_timeout is above an hour: nobody waits so long"));
    }
    let reads = [("max_in_flight", cache.max_in_flight), ("max_waiting", cache.max_waiting)];
    for (name, reads) in reads {
        if reads > MAX_READS {
            return Err(ConfigError::new(format!(
                "{name} is {reads}: set it to {MAX_READS} or less"
            )));
        }
    }
    if cache.max_in_flight < 2 {
        return Err(ConfigError::new(format!(
            "max_in_flight is {}: set it to 2 or more, as half of the reads are kept for known keys",
            cache.max_in_flight
        )));
    }
    if cache.max_waiting == 0 {
        return Err(ConfigError::new("max_waiting is 0: set it to 1 or more"));
    }
    Ok(())
}

/// Those of management.
pub(super) fn management(
    max_grace: Duration,
    platform: Option<&AccountId>,
) -> Result<(), ConfigError> {
    /// Ten years: a key that goes on for longer was not replaced.
    const MAX_GRACE: Duration = Duration::from_secs(3_653 * 24 * 60 * 60);
    if max_grace > MAX_GRACE {
        return Err(ConfigError::new("max_grace is above ten years: set it to ten years or less"));
    }
    // What no owner could be a member of.
    let is_id = |id: &AccountId| id.is_valid() && !id.as_str().chars().any(char::is_control);
    if platform.is_some_and(|account| !is_id(account)) {
        return Err(ConfigError::new(
            "platform_account is no account's id: give one of 1 to 128 bytes without control \
             characters",
        ));
    }
    Ok(())
}

/// A setting that makes no sense; the message says which, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Box<str>);

impl ConfigError {
    pub(crate) fn new(message: impl Into<Box<str>>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}
