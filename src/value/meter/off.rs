//! The meter without the feature `metrics`: nothing, at no cost.
#![allow(clippy::unused_self, reason = "the twin of the meter that does something")]

use super::{Count, Levels};
use crate::value::clock::{Clock, Monotonic};

/// Counts nothing. With a field, so that it is made and cloned as the other one is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(());

/// Times nothing.
pub(crate) struct Timer;

impl Timer {
    #[inline]
    pub(crate) fn of_a_miss(_: &Clock) -> Self {
        Self
    }
}

impl Meter {
    pub(crate) const IS_ON: bool = false;

    #[inline]
    pub(crate) fn count(&self, count: Count) {
        self.count_many(count, 1);
    }

    #[inline]
    pub(crate) fn count_many(&self, _: Count, _times: u64) {}

    #[inline]
    pub(crate) fn refused(&self, _reason: usize) {}

    #[inline]
    pub(crate) fn read_ended(&self, _outcome: Count, _asked_at: Monotonic, _: &Clock) {}

    pub(crate) fn publish(&self, _: &Levels, _reasons: &[&'static str]) {}
}
