//! The clocks, as a benchmark and as hand-written layers read them.

use std::time::Instant;

use chrono::{DateTime, Utc};

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn stopwatch() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the rivals do not know the crate's clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
