//! The two clocks: what the calendar says, and how much time has passed.

#[cfg(any(test, feature = "test-util"))]
mod manual;
mod tick;

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

pub(crate) use self::tick::{TICK_LAG, Tick};

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
    pub(crate) fn after(self, span: impl Into<Span>) -> Self {
        Self(self.0.saturating_add(span.into().0))
    }

    /// This moment minus `span`, at least the near end of the scale.
    pub(crate) fn before(self, span: impl Into<Span>) -> Self {
        Self(self.0.saturating_sub(span.into().0))
    }

    /// How long `earlier` is ago; zero if it is not earlier.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in the monotonic clock's own unit, for what is added up at every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(u64);

impl From<Duration> for Span {
    fn from(span: Duration) -> Self {
        Self(nanos(span))
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

    /// Whether a [`tick`](Self::tick) can be had.
    pub(crate) fn has_ticks(&self) -> bool {
        match &self.0 {
            Source::System => Tick::are_there(),
            #[cfg(any(test, feature = "test-util"))]
            Source::Manual(_) => true,
        }
    }

    /// Both, as of their last tick.
    ///
    /// # Panics
    /// Where the machine [has none](Self::has_ticks).
    #[inline]
    pub(crate) fn tick(&self) -> Tick {
        match &self.0 {
            Source::System => Tick::now(),
            #[cfg(any(test, feature = "test-util"))]
            Source::Manual(clock) => Tick::of(clock.wall(), clock.elapsed_nanos()),
        }
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
