//! Decides whether a use is due, and queues it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, SubsecRound as _, Utc};

use super::{guard::Guard, queue::Moment, writer::Writer};
use crate::{
    state::store::{DynStore, KeyUse},
    value::{
        clock::{Clock, Monotonic},
        key::Record,
        meter::Levels,
    },
};

/// What `due` holds before the recorder has looked at the record: a slot begins with it, as the
/// cache knows nothing of windows.
const UNSEEN: u64 = 0;

/// What an authenticator holds of the recorder. Cheap to clone; when the last clone is gone, the
/// worker writes what is left and ends.
#[derive(Clone)]
pub(crate) struct Recorder(Option<Arc<Handle>>);

struct Handle {
    writer: Arc<Writer>,
    clock: Clock,
    window: Duration,
    /// The window as the calendar counts it.
    wall_window: chrono::Duration,
}

impl Recorder {
    /// A recorder that writes at most once per key and `window`; `None` records nothing. Nothing is
    /// spawned yet.
    pub(crate) fn new(store: Arc<dyn DynStore>, clock: Clock, window: Option<Duration>) -> Self {
        Self(window.map(|window| {
            let writer = Arc::new(Writer::new(store, clock.clone()));
            // A window of more years than the calendar has writes the first use only.
            let wall_window = chrono::Duration::from_std(window).unwrap_or(chrono::Duration::MAX);
            Arc::new(Handle { writer, clock, window, wall_window })
        }))
    }

    /// What drains this recorder at the end; it keeps no worker alive.
    pub(crate) fn guard(&self) -> Guard {
        Guard::new(self.0.as_ref().map(|handle| Arc::clone(&handle.writer)))
    }

    /// Reads off what became of the uses so far.
    pub(crate) fn read_off(&self, levels: &mut Levels) {
        let Some(handle) = &self.0 else { return };
        let Writer { counters, .. } = &*handle.writer;
        levels.uses_written = counters.written();
        levels.uses_turned_away = counters.turned_away();
        levels.uses_lost = counters.lost();
        levels.queued = handle.writer.held();
    }

    /// From when on a use of this key is to be written, in nanoseconds of the monotonic clock: 0 when
    /// it was never used, or longer ago than the window.
    ///
    /// At most a window from now, whatever time is stored: a calendar that was set back, and then
    /// right again, would otherwise leave the key unrecorded for as long as it was wrong.
    pub(crate) fn due_at(&self, record: &Record) -> u64 {
        let Some(handle) = self.0.as_ref().filter(|handle| !handle.writer.has_given_up()) else {
            return u64::MAX;
        };
        let Some(last) = record.key().last_used_at() else { return 0 };
        let next = last.checked_add_signed(handle.wall_window).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let Ok(left) = (next - handle.clock.now()).to_std() else { return 0 };
        handle
            .clock
            .monotonic()
            .after(left.min(handle.window).saturating_add(handle.slack()))
            .as_nanos()
    }

    /// Notes a use of `record`, if one is due: queues it and moves `due` on by a window.
    #[inline]
    pub(crate) fn seen(&self, record: &Record, due: &AtomicU64, now: Monotonic) {
        // Relaxed: `due` guards nothing but itself, and a stale reading is settled by the
        // compare-and-swap behind it.
        let expected = due.load(Ordering::Relaxed);
        if now.as_nanos() >= expected {
            self.queue(record, due, expected);
        }
    }

    #[cold]
    fn queue(&self, record: &Record, due: &AtomicU64, expected: u64) {
        let Some(handle) = self.0.as_ref().filter(|handle| !handle.writer.has_given_up()) else {
            due.store(u64::MAX, Ordering::Relaxed);
            return;
        };
        let due_at = if expected == UNSEEN { self.due_at(record) } else { expected };
        if handle.clock.monotonic().as_nanos() < due_at {
            due.fetch_max(due_at, Ordering::Relaxed);
            return;
        }
        // The place comes before the swap: were it the other way round, a full queue would have
        // moved `due`, and the key would go unrecorded for a whole window.
        let Some(place) = handle.writer.place() else { return };
        // The calendar is read before the monotonic clock, so that the next use's time lies a
        // whole window behind this one's and is not passed over by the store.
        let at = handle.clock.now().trunc_subsecs(6);
        let now = handle.clock.monotonic();
        let next = now.after(handle.window.saturating_add(handle.slack())).as_nanos();
        // Before the epoch nothing was used, and not every database counts back that far.
        let if_before = at.checked_sub_signed(handle.wall_window);
        let if_before = if_before.map_or(DateTime::UNIX_EPOCH, |t| t.max(DateTime::UNIX_EPOCH));
        let key = record.key();
        let key_use = KeyUse { key: key.id(), digest: *key.digest(), at, if_before };
        if place.fill(key_use, &Moment { now: now.as_nanos(), next, due, expected }) {
            Writer::rouse(&handle.writer);
        }
    }
}

impl Handle {
    /// A thousandth of the window, and a microsecond: the store writes only over a time that is
    /// *older* than the window, and the calendar may be slewed against the monotonic clock (by at
    /// most 500 ppm). Asking too early would be passed over, and cost a whole window.
    fn slack(&self) -> Duration {
        self.window / 1000 + Duration::from_micros(1)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        Writer::close(&self.writer);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = self.0.as_ref().map(|handle| handle.window);
        f.debug_struct("Recorder").field("window", &window).finish_non_exhaustive()
    }
}
