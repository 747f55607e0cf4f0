//! The two clocks: what the calendar says, and how much time has passed.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

/// A reading of the monotonic clock: nanoseconds since this process first read it.
///
/// It measures ages and deadlines. It stands still while the machine sleeps, which is why the
/// cache compares it with the calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Monotonic(u64);

impl Monotonic {
    /// From nanoseconds since the process' first reading.
    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the process' first reading.
    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }

    /// This moment plus `span`, at most the far end of the scale.
    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// How long `earlier` is ago; zero if it is not earlier.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// How far calendar and monotonic clock may drift apart before that counts as a suspended machine.
pub(crate) const CLOCK_JUMP_MILLIS: u64 = 2_000;

/// Both clocks, read at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) wall: DateTime<Utc>,
    pub(crate) monotonic: Monotonic,
}

impl Reading {
    /// Calendar minus monotonic clock, in milliseconds: it changes when the calendar is set, and
    /// when the machine was suspended, while the monotonic clock stood still.
    pub(crate) fn offset_millis(&self) -> i64 {
        let passed = i64::try_from(self.monotonic.as_nanos() / 1_000_000).unwrap_or(i64::MAX);
        self.wall.timestamp_millis().saturating_sub(passed)
    }
}

/// Where an authenticator reads the time: the machine's clocks, or in tests a [`ManualClock`].
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    #[cfg(any(test, feature = "test-util"))]
    Manual(ManualClock),
}

impl Clock {
    /// The machine's own clocks.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// The calendar: what expiries are judged against.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub(crate) fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => Utc::now(),
            #[cfg(any(test, feature = "test-util"))]
            Source::Manual(clock) => clock.wall(),
        }
    }

    /// Both at once.
    pub(crate) fn read(&self) -> Reading {
        Reading { wall: self.now(), monotonic: self.monotonic() }
    }

    /// The time that has passed: what ages and timeouts are measured by.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub(crate) fn monotonic(&self) -> Monotonic {
        static ANCHOR: OnceLock<Instant> = OnceLock::new();
        match &self.0 {
            Source::System => {
                let anchor = *ANCHOR.get_or_init(Instant::now);
                Monotonic(nanos(Instant::now().saturating_duration_since(anchor)))
            }
            #[cfg(any(test, feature = "test-util"))]
            Source::Manual(clock) => Monotonic(clock.elapsed_nanos()),
        }
    }
}

#[cfg(any(test, feature = "test-util"))]
#[cfg_attr(not(feature = "test-util"), allow(unreachable_pub, reason = "our own tests only"))]
pub use manual::ManualClock;

#[cfg(any(test, feature = "test-util"))]
mod manual {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hand_set_clock_moves_only_by_hand() {
        let hand = ManualClock::at(DateTime::UNIX_EPOCH);
        let clock = Clock::from(hand.clone());
        let (wall, passed) = (clock.now(), clock.monotonic());
        assert_eq!((wall, passed), (clock.now(), clock.monotonic()));
        hand.advance(Duration::from_secs(3));
        assert_eq!((clock.now() - wall).num_seconds(), 3);
        assert_eq!(clock.monotonic().since(passed), Duration::from_secs(3));
        hand.step_wall(chrono::Duration::hours(-1));
        assert_eq!(clock.monotonic().since(passed), Duration::from_secs(3));
    }

    #[test]
    fn the_system_clock_runs_forward() {
        let clock = Clock::system();
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
        assert_eq!(first.after(Duration::MAX).as_nanos(), u64::MAX);
    }
}
