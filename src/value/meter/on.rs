//! The meter with the feature `metrics`: counts by thread, and publishes to the process' recorder.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use metrics::{Label, counter, gauge, histogram};

use super::{
    Count, Levels, MAX_REASONS,
    catalogue::{self, MISS_SECONDS, READ_SECONDS, Series},
    stripes::Stripes,
};
use crate::value::clock::{Clock, Monotonic};

const COUNTERS: usize = Count::ALL.len() + MAX_REASONS;

/// What one authenticator counts. Clones share it.
#[derive(Clone)]
pub(crate) struct Meter(Arc<Board>);

struct Board {
    stripes: Stripes<COUNTERS>,
    /// The lock makes one publication follow the other, so that no difference counts twice.
    published: Mutex<Published>,
}

/// What a recorder was told so far.
#[derive(Default)]
struct Published {
    /// Which one, by its address.
    recorder: usize,
    counts: [u64; COUNTERS],
    totals: [u64; 7],
    gauges: [usize; 7],
}

impl Meter {
    pub(crate) const IS_ON: bool = true;

    #[inline]
    pub(crate) fn count(&self, count: Count) {
        self.count_many(count, 1);
    }

    #[inline]
    pub(crate) fn count_many(&self, count: Count, times: u64) {
        self.0.stripes.add(count as usize, times);
    }

    /// Counts a refusal, by its kind's place among all kinds.
    pub(crate) fn refused(&self, reason: usize) {
        debug_assert!(reason < MAX_REASONS);
        self.0.stripes.add(Count::ALL.len() + reason, 1);
    }

    /// Counts and times a read of the store.
    pub(crate) fn read_ended(&self, outcome: Count, asked_at: Monotonic, clock: &Clock) {
        self.count(outcome);
        histogram!(READ_SECONDS).record(clock.monotonic().since(asked_at));
    }

    /// Tells the recorder what has come since it was told last. `reasons` are the words for the
    /// kinds of refusals, in their order.
    ///
    /// Everything is told each time, also that nothing changed: every series is there from the
    /// first time on, and none looks idle.
    pub(crate) fn publish(&self, levels: &Levels, reasons: &[&'static str]) {
        // A recorder that panicked halfway has heard what is noted as told.
        let mut published = self.0.published.lock().unwrap_or_else(PoisonError::into_inner);
        let recorder = recorder();
        if published.recorder != recorder {
            // It was installed after the authenticator was first used: it hears all from the start.
            *published = Published { recorder, ..Published::default() };
            catalogue::describe();
        }
        let Published { counts, totals, gauges, .. } = &mut *published;
        for count in Count::ALL {
            let (told, total) = (&mut counts[count as usize], self.0.stripes.sum(count as usize));
            count_up(count.series(), told, total);
        }
        for (place, reason) in (Count::ALL.len()..).zip(reasons) {
            let (told, total) = (&mut counts[place], self.0.stripes.sum(place));
            count_up([catalogue::refusals(reason)], told, total);
        }
        for ((series, total), told) in catalogue::totals(levels).into_iter().zip(totals) {
            count_up([series], told, total);
        }
        for ((series, level), told) in catalogue::gauges(levels).iter().zip(gauges) {
            // By its difference, as another authenticator's is in the same series.
            gauge!(series.name, labels(series)).increment(*level as f64 - *told as f64);
            *told = *level;
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        let stripes = Stripes::for_this_machine();
        Self(Arc::new(Board { stripes, published: Mutex::default() }))
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

fn count_up(lines: impl IntoIterator<Item = Series>, told: &mut u64, total: u64) {
    for series in lines {
        counter!(series.name, labels(&series)).increment(total.wrapping_sub(*told));
    }
    *told = total;
}

fn labels(series: &Series) -> Vec<Label> {
    series.label.map(|(name, value)| Label::from_static_parts(name, value)).into_iter().collect()
}

/// Tells one recorder from another, and from none: by its address.
fn recorder() -> usize {
    metrics::with_recorder(|recorder| std::ptr::from_ref(recorder).cast::<()>().addr())
}

/// Times a decision that the cache can't make, whether it is reached or its caller gives up.
pub(crate) struct Timer<'a> {
    clock: &'a Clock,
    began: Monotonic,
}

impl<'a> Timer<'a> {
    pub(crate) fn of_a_miss(clock: &'a Clock) -> Self {
        Self { clock, began: clock.monotonic() }
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        histogram!(MISS_SECONDS).record(self.clock.monotonic().since(self.began));
    }
}
