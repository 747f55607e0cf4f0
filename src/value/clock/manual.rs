//! The clock that a test sets by hand.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};

use super::{Clock, Source, nanos};

/// A clock that stands still until a test moves it (`test-util`).
///
/// Clones share the time. It does not drive tokio's timers: pause and advance those beside it.
#[derive(Clone)]
pub struct ManualClock(Arc<Hands>);

struct Hands {
    wall_micros: AtomicI64,
    elapsed_nanos: AtomicU64,
}

impl ManualClock {
    /// A clock that reads `start`.
    #[must_use]
    pub fn at(start: DateTime<Utc>) -> Self {
        Self(Arc::new(Hands {
            wall_micros: AtomicI64::new(start.timestamp_micros()),
            elapsed_nanos: AtomicU64::new(1_000_000_000),
        }))
    }

    /// Lets `span` pass on both clocks.
    pub fn advance(&self, span: Duration) {
        self.step_wall(chrono::Duration::from_std(span).expect("a span of a test is small"));
        // SeqCst keeps a test's two hands in the order in which it moved them.
        self.0.elapsed_nanos.fetch_add(nanos(span), Ordering::SeqCst);
    }

    /// Moves the calendar alone, as a time server or a suspended machine does.
    pub fn step_wall(&self, step: chrono::Duration) {
        let micros = step.num_microseconds().expect("a step of a test is small");
        self.0.wall_micros.fetch_add(micros, Ordering::SeqCst);
    }

    /// What the calendar reads.
    #[must_use]
    pub fn wall(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.wall_micros.load(Ordering::SeqCst))
            .expect("a test stays within chrono's years")
    }

    pub(super) fn elapsed_nanos(&self) -> u64 {
        self.0.elapsed_nanos.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.wall()).finish()
    }
}

impl From<ManualClock> for Clock {
    fn from(clock: ManualClock) -> Self {
        Self(Source::Manual(clock))
    }
}
