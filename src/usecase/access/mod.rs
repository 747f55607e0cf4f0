//! Writes down when keys were last used, off the request path.
//!
//! # Rules
//! 1. A use that is not due costs one relaxed load and no shared write.
//! 2. A use that is due takes a place in the queue first and moves `due` second, so that a use which
//!    found the queue full leaves `due` alone and a later one is recorded in its stead.
//! 3. A place stays taken until the use was written or given up for good: a write that failed finds
//!    room to go back to.
//! 4. `due` belongs to the key. A cell of the recorder's own has it until the use was written, and
//!    for a while longer; slots hold copies, which may be too early. So it does not matter how often
//!    a slot is replaced, or evicted and read again.
//! 5. `due` never moves back, and is never further off than a window, whatever time is stored.
//! 6. A store writes a use only over an absent or an older time, so that writing one twice, late, or
//!    in another order does no harm.

mod guard;
mod queue;
mod recorder;
mod report;
mod worker;
mod writer;

use std::time::Duration;

pub use guard::Guard;
pub(crate) use recorder::Recorder;
pub use report::ShutdownReport;

use super::config::{AuthenticatorBuilder, ConfigError};

/// How closely the time of a key's last use is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LastUsed {
    /// Not at all: the store is never written to on account of a request.
    Off,
    /// The first use at the next flush, about a second later; then at most once per key in each
    /// such window. Five minutes by default, as in the source system.
    Every(Duration),
}

impl LastUsed {
    /// The window; `None` when nothing is kept.
    pub(super) fn window(self) -> Result<Option<Duration>, ConfigError> {
        match self {
            Self::Off => Ok(None),
            Self::Every(window) if window.is_zero() => Err(ConfigError::new(
                "a `last_used` window of zero would write at every request: give a longer one, or \
                 `LastUsed::Off`",
            )),
            Self::Every(window) => Ok(Some(window)),
        }
    }
}

impl Default for LastUsed {
    fn default() -> Self {
        Self::Every(Duration::from_secs(5 * 60))
    }
}

impl AuthenticatorBuilder {
    /// How closely the time of a key's last use is kept; every five minutes by default, as in the
    /// source system.
    pub fn last_used(mut self, last_used: LastUsed) -> Self {
        self.last_used = last_used;
        self
    }
}

#[cfg(test)]
mod tests;
