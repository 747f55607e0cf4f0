//! Both clocks as of their last tick: a reading that costs next to nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Both clocks as they were at their last tick: for what is asked at every request, as exact readings
/// take ten times as long.
///
/// They are never ahead of exact readings, and behind by a tick (1 to 10 ms), or by as long as the core
/// whose ticks move the clocks was kept from running. So they prove that a moment has come, and with
/// [`TICK_LAG`] to spare that one has not; in between, the clocks are to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    /// The calendar, in nanoseconds since the epoch.
    wall: i64,
    /// The monotonic clock, in nanoseconds since a moment of its own: good for differences only.
    monotonic: u64,
}

/// By how much a [`Tick`] may be behind: many times its length, as a hypervisor may hold a core up.
pub(crate) const TICK_LAG: Duration = Duration::from_secs(1);

impl Tick {
    /// Whether the machine has clocks of this kind. Some do not: kernels without POSIX timers, sandboxes.
    pub(super) fn are_there() -> bool {
        machine::has_ticks()
    }

    /// The machine's.
    ///
    /// # Panics
    /// Where it has none.
    #[inline]
    pub(super) fn now() -> Self {
        machine::tick()
    }

    /// An exact reading's.
    #[cfg(any(test, feature = "test-util", not(any(target_os = "linux", target_os = "android"))))]
    pub(super) fn of(wall: DateTime<Utc>, monotonic: u64) -> Self {
        // Centuries from now there are none. What comes of that is asked of the clocks once a second.
        Self { wall: wall.timestamp_nanos_opt().unwrap_or(i64::MAX), monotonic }
    }

    /// Whether by both clocks this lies in the `nanos` that begin at `from`: neither before them nor behind
    /// them.
    #[inline]
    pub(crate) fn is_within(self, from: Self, nanos: u64) -> bool {
        // What lies before wraps to the far end, which is centuries off.
        self.wall.wrapping_sub(from.wall).cast_unsigned() < nanos
            && self.monotonic.wrapping_sub(from.monotonic) < nanos
    }

    /// How much time has passed since `earlier`.
    #[cfg(test)]
    fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.monotonic.saturating_sub(earlier.monotonic))
    }

    /// How long the calendar is before `later`; nothing if it is not.
    pub(crate) fn until(self, later: DateTime<Utc>) -> Duration {
        let Some(later) = later.timestamp_nanos_opt() else {
            // Centuries off, in either direction.
            let is_ahead = later > DateTime::UNIX_EPOCH;
            return if is_ahead { Duration::MAX } else { Duration::ZERO };
        };
        Duration::from_nanos(u64::try_from(later.saturating_sub(self.wall)).unwrap_or(0))
    }
}

/// Where the kernel keeps what the clocks read at their last tick.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod machine {
    use rustix::time::{ClockId, DynamicClockId, clock_gettime, clock_gettime_dynamic};

    use super::Tick;

    pub(super) fn has_ticks() -> bool {
        let clocks = [ClockId::RealtimeCoarse, ClockId::MonotonicCoarse];
        clocks.iter().all(|clock| clock_gettime_dynamic(DynamicClockId::Known(*clock)).is_ok())
    }

    #[inline]
    pub(super) fn tick() -> Tick {
        let wall = nanos(ClockId::RealtimeCoarse);
        Tick { wall, monotonic: nanos(ClockId::MonotonicCoarse).cast_unsigned() }
    }

    #[inline]
    #[allow(clippy::useless_conversion, reason = "where a C long has 32 bits, it is not")]
    fn nanos(clock: ClockId) -> i64 {
        let time = clock_gettime(clock);
        time.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(i64::from(time.tv_nsec))
    }
}

/// Where it does not, they are read.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod machine {
    pub(super) use super::exact_tick as tick;

    pub(super) fn has_ticks() -> bool {
        true
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn exact_tick() -> Tick {
    let now = super::Clock::system().read();
    Tick::of(now.wall, now.monotonic.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::clock::{Clock, Monotonic};

    /// What the front relies on. Seen to fail with the two clocks exchanged.
    #[test]
    fn a_tick_is_never_ahead_and_hardly_behind() {
        let clock = Clock::system();
        let (first, begun) = (clock.tick(), clock.monotonic());
        for _ in 0..1_000 {
            let (before, tick, after) = (clock.now(), clock.tick(), clock.now());
            let read = DateTime::from_timestamp_nanos(tick.wall);
            assert_eq!(tick.until(after), (after - read).to_std().unwrap(), "behind or equal");
            assert!(tick.until(before) < TICK_LAG);
            let (passed, exactly) = (tick.since(first), clock.monotonic().since(begun));
            assert!(passed < exactly + TICK_LAG && exactly < passed + TICK_LAG);
        }
    }

    /// Seen to fail with either clock left out.
    #[test]
    fn a_span_has_two_ends_by_both_clocks() {
        let tick = |wall, monotonic| Tick { wall, monotonic };
        let within = |wall, monotonic| tick(wall, monotonic).is_within(tick(100, 50), 10);
        assert_eq!([99, 100, 109, 110].map(|wall| within(wall, 50)), [false, true, true, false]);
        assert_eq!([49, 50, 59, 60].map(|passed| within(100, passed)), [false, true, true, false]);
        let until = |wall, later| tick(wall, 0).until(later);
        assert_eq!(until(5, DateTime::from_timestamp_nanos(7)), Duration::from_nanos(2));
        assert_eq!(until(7, DateTime::from_timestamp_nanos(5)), Duration::ZERO);
        assert_eq!(until(7, DateTime::<Utc>::MAX_UTC), Duration::MAX);
        assert_eq!(until(7, DateTime::<Utc>::MIN_UTC), Duration::ZERO);
        let exact = Tick::of(DateTime::UNIX_EPOCH, Monotonic::from_nanos(3).as_nanos());
        assert_eq!((exact.wall, exact.monotonic), (0, 3));
    }
}
