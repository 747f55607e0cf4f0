//! The calendar as of its last tick: a reading that costs next to nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Span;

/// The calendar as it was at its last tick, in nanoseconds since the epoch: for what is asked at every
/// request, as an exact reading takes ten times as long.
///
/// It is never ahead of an exact reading, and behind by a tick (1 to 10 ms), or by as long as the core
/// whose ticks move the clocks was kept from running. So it proves that a moment has come, and with
/// [`TICK_LAG`] to spare that one has not; in between, the clocks are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(i64);

/// By how much a [`Tick`] may be behind: many times its length, as a hypervisor may hold a core up.
pub(crate) const TICK_LAG: Duration = Duration::from_secs(1);

impl Tick {
    /// The machine's.
    #[inline]
    pub(super) fn now() -> Self {
        machine::tick()
    }

    /// A moment's; the far end for what lies centuries off.
    pub(super) fn of(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_nanos_opt().unwrap_or(i64::MAX))
    }

    /// Whether the calendar could tell a time at all.
    pub(crate) fn is_told(self) -> bool {
        self.0 != i64::MAX
    }

    /// Whether this lies in the `span` that begins at `from`: neither before it nor behind it.
    #[inline]
    pub(crate) fn is_within(self, from: Self, span: Span) -> bool {
        // What lies before wraps to the far end, which no span reaches.
        (self.0.wrapping_sub(from.0)).cast_unsigned() < span.0
    }

    /// How long this is before `later`; nothing if it is not.
    pub(crate) fn until(self, later: DateTime<Utc>) -> Duration {
        let Some(later) = later.timestamp_nanos_opt() else {
            // Centuries off, in either direction.
            let is_ahead = later > DateTime::UNIX_EPOCH;
            return if is_ahead { Duration::MAX } else { Duration::ZERO };
        };
        Duration::from_nanos(u64::try_from(later.saturating_sub(self.0)).unwrap_or(0))
    }
}

/// Where the kernel keeps what the calendar read at its last tick.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod machine {
    use nix::time::{ClockId, clock_gettime};

    use super::Tick;

    #[inline]
    #[allow(clippy::useless_conversion, reason = "where a machine's words have 32 bits, it is not")]
    pub(super) fn tick() -> Tick {
        let Ok(time) = clock_gettime(ClockId::CLOCK_REALTIME_COARSE) else {
            // Every kernel since 2009 has this clock.
            return super::exact_tick();
        };
        Tick(i64::from(time.tv_sec()) * 1_000_000_000 + i64::from(time.tv_nsec()))
    }
}

/// Where it does not, it is read.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod machine {
    pub(super) use super::exact_tick as tick;
}

/// The calendar in a tick's unit.
#[cold]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn exact_tick() -> Tick {
    Tick::of(Utc::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::clock::Clock;

    /// What the front relies on. Seen to fail with a tick of the monotonic clock.
    #[test]
    fn a_tick_is_never_ahead_and_hardly_behind() {
        let clock = Clock::system();
        for _ in 0..1_000 {
            let (before, tick, after) = (clock.now(), clock.tick(), clock.now());
            assert_eq!(tick.until(after), (after - tick_as_time(tick)).to_std().unwrap());
            assert!(tick.until(before) < TICK_LAG);
        }
    }

    fn tick_as_time(tick: Tick) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(tick.0)
    }

    #[test]
    fn a_span_has_two_ends() {
        let span = Span(10);
        let within = |at| Tick(at).is_within(Tick(100), span);
        assert_eq!([99, 100, 109, 110].map(within), [false, true, true, false]);
        assert!(!Tick(100).is_within(Tick(i64::MAX), Span(u64::MAX / 4)));
        assert_eq!(Tick(5).until(DateTime::from_timestamp_nanos(7)), Duration::from_nanos(2));
        assert_eq!(Tick(7).until(DateTime::from_timestamp_nanos(5)), Duration::ZERO);
        assert_eq!(Tick(7).until(DateTime::<Utc>::MAX_UTC), Duration::MAX);
        assert_eq!(Tick(7).until(DateTime::<Utc>::MIN_UTC), Duration::ZERO);
    }
}
