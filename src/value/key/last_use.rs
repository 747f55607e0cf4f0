//! When a key was last used, in the room that a million cached keys have for it.

use std::fmt;

use chrono::{DateTime, Utc};

/// When a key was last used, in microseconds of the calendar: 8 bytes, where an
/// `Option<DateTime<Utc>>` takes 12 and an odd four of padding beside them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct LastUse(i64);

impl LastUse {
    /// A moment that the calendar does not reach.
    pub(super) const NEVER: Self = Self(i64::MIN);

    pub(super) fn at(self) -> Option<DateTime<Utc>> {
        if self == Self::NEVER { None } else { DateTime::from_timestamp_micros(self.0) }
    }
}

impl From<Option<DateTime<Utc>>> for LastUse {
    fn from(at: Option<DateTime<Utc>>) -> Self {
        at.map_or(Self::NEVER, |at| Self(at.timestamp_micros()))
    }
}

impl fmt::Debug for LastUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_moment_of_the_calendar_to_the_microsecond() {
        let whole = DateTime::UNIX_EPOCH + chrono::Duration::microseconds(1_700_000_000_123_456);
        for at in [DateTime::UNIX_EPOCH, whole, DateTime::<Utc>::MIN_UTC] {
            assert_eq!(LastUse::from(Some(at)).at(), Some(at));
        }
        let finer = whole + chrono::Duration::nanoseconds(789);
        assert_eq!(LastUse::from(Some(finer)).at(), Some(whole));
        assert!(LastUse::from(Some(DateTime::<Utc>::MAX_UTC)).at().is_some());
        assert_eq!(LastUse::from(None).at(), None);
        assert!(size_of::<super::super::ApiKey>() <= 200, "a million of them are cached");
    }
}
