//! What is known of keys, for as long as it may be relied on.
//!
//! Reads go to the store through shared flights, what they find is kept in two bounded tables (of
//! present and of absent keys), and the fence tells what a revocation has outdated since. A slot is
//! checked at every use: being found proves nothing.

mod ask;
mod batch;
mod breaker;
mod fence;
mod fetch;
mod flight;
mod front;
mod map;
mod publish;
mod sieve;
mod slide;
mod slot;
mod suspects;
mod sync;
mod table;
mod term;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

pub(crate) use fetch::Demand;
pub(crate) use flight::ReadError;
pub(crate) use front::{Sight, Sighting};
pub(crate) use slot::Slot;
#[cfg(any(token_auth_loom, token_auth_shuttle))]
pub use sync::READ_MODIFY_WRITE;

use self::{
    breaker::Breaker,
    fence::Fence,
    flight::{Flights, Lanes},
    front::Front,
    suspects::Suspects,
    table::Table,
    term::{Lease, Lives},
};
use crate::{
    state::store::DynStore,
    value::{
        clock::{CLOCK_JUMP_MILLIS, Clock, Monotonic, Reading},
        digest::TokenDigest,
        key::{Record, Slide},
        meter::{Levels, Meter},
        subject::Subject,
        trace::StoreTrouble,
    },
};

/// How large the cache is and how long it may be relied on. Every number is at least 1.
#[derive(Clone, Debug)]
pub(crate) struct CacheSettings {
    pub(crate) capacity: usize,
    pub(crate) absent_capacity: usize,
    pub(crate) fresh_ttl: Duration,
    pub(crate) absent_ttl: Duration,
    /// By how much a key may outlive its TTL while the store can't be read; may be 0.
    pub(crate) stale_if_error: Duration,
    /// For how long a slot is used while the revocation feed is down; `None` without a feed.
    pub(crate) short_ttl: Option<Duration>,
    pub(crate) store_timeout: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) reserved_in_flight: usize,
    pub(crate) max_waiting: usize,
}

/// What is known of keys, and the reads under way for more.
///
/// On cache lines of its own, as every hit reads it: no thread's writes beside it are to take them away.
#[repr(align(128))]
pub(crate) struct Cache {
    store: Arc<dyn DynStore>,
    clock: Clock,
    fence: Fence,
    /// `None` where threads can't have tables of their own.
    front: Option<Front>,
    suspects: Suspects,
    present: Table,
    absent: Table,
    flights: Flights,
    lanes: Lanes,
    breaker: Breaker,
    lives: Lives,
    lease: Lease,
    store_timeout: Duration,
    /// How uses move expiries on, if they do.
    slide: Option<Slide>,
    /// Calendar minus monotonic clock, in milliseconds, as the last jump left it.
    clock_offset: AtomicI64,
    meter: Meter,
    trouble: StoreTrouble,
}

/// What the cache knows of a digest.
pub(crate) enum Known {
    /// Its record; the slot itself if that was asked for, or there is something to be done about it.
    Present { record: Arc<Record>, slot: Option<Arc<Slot>>, has_chores: bool },
    /// That there was none.
    Absent,
    /// That a change of it is not settled.
    Suspect,
}

impl Cache {
    pub(crate) fn new(
        store: Arc<dyn DynStore>,
        clock: Clock,
        settings: &CacheSettings,
        meter: Meter,
    ) -> Self {
        let slots = settings.capacity.saturating_add(settings.absent_capacity);
        let fence = Fence::for_capacity(slots);
        let &CacheSettings { fresh_ttl, absent_ttl, short_ttl, store_timeout, .. } = settings;
        let shortest = fresh_ttl.min(absent_ttl).min(short_ttl.unwrap_or(Duration::MAX));
        let offset = clock.read().offset_millis();
        let front = Front::new(&clock);
        Self {
            store,
            clock,
            fence,
            front,
            suspects: Suspects::default(),
            present: Table::new(settings.capacity),
            absent: Table::new(settings.absent_capacity),
            flights: Flights::new(store_timeout.min(shortest)),
            lanes: Lanes::new(
                settings.max_in_flight,
                settings.reserved_in_flight,
                settings.max_waiting,
            ),
            breaker: Breaker::default(),
            lives: Lives::new(settings),
            lease: Lease::new(short_ttl.is_some()),
            store_timeout,
            slide: None,
            clock_offset: AtomicI64::new(offset),
            meter,
            trouble: StoreTrouble::default(),
        }
    }

    /// Reads off how much the cache holds and has under way.
    pub(crate) fn read_off(&self, levels: &mut Levels) {
        levels.present = self.present.len();
        levels.absent = self.absent.len();
        levels.in_flight = self.lanes.taken();
        levels.suspects = self.suspects.count();
    }

    /// What is known of a digest and may be relied on at `now`, which was read after the
    /// authentication began. No await, no store.
    pub(crate) fn lookup(
        &self,
        digest: &TokenDigest,
        now: &Reading,
        wants_slot: bool,
    ) -> Option<Known> {
        self.notice_clock_jump(now);
        let present = self.present.read(digest, |slot| {
            // Before the stamps are looked at, which `usable` does.
            if self.suspects.hold(digest, slot.record().map(Arc::as_ref)) {
                return Some(Known::Suspect);
            }
            let term = self.term(slot);
            let record = self.usable_until(term.deadline, slot, now).then(|| slot.record())??;
            let has_chores = (now.monotonic >= term.refresh_from
                && slot.may_be_claimed(now.monotonic))
                || now.monotonic.as_nanos() >= slot.due().load(Ordering::Relaxed)
                || self.slides(slot, record, now);
            let slot = (has_chores || wants_slot).then(|| Arc::clone(slot));
            Some(Known::Present { record: Arc::clone(record), slot, has_chores })
        });
        present.or_else(|| {
            self.absent.read(digest, |slot| {
                if self.suspects.hold(digest, None) {
                    return Some(Known::Suspect);
                }
                self.usable(slot, now).then_some(Known::Absent)
            })
        })
    }

    /// Whether a slot is current and young enough.
    fn usable(&self, slot: &Slot, now: &Reading) -> bool {
        self.usable_until(self.term(slot).deadline, slot, now)
    }

    /// The deadline was worked out first: its lease is read before the stamps.
    fn usable_until(&self, deadline: Monotonic, slot: &Slot, now: &Reading) -> bool {
        now.monotonic < deadline && slot.is_current(&self.fence)
    }

    /// Outdates whatever was read about `subjects` before this call. Call it after the commit.
    pub(crate) fn revoke(&self, subjects: &[Subject]) {
        self.fence.revoke(subjects);
    }

    /// Answers nothing about `subjects` from here on: a change of them may or may not have been made.
    pub(crate) fn suspect(&self, subjects: &[Subject]) {
        self.suspects.mark(subjects);
        self.fence.revoke(subjects);
    }

    /// Takes a [`suspect`](Self::suspect) back: by now it is certain what was made. What was read
    /// meanwhile is outdated first.
    pub(crate) fn settled(&self, subjects: &[Subject]) {
        self.fence.revoke(subjects);
        self.suspects.clear(subjects);
    }

    /// Outdates whatever was read before this call.
    pub(crate) fn flush(&self) {
        self.fence.flush();
    }

    /// Flushes when calendar and monotonic clock have drifted apart: the monotonic clock stands
    /// still while a machine sleeps, so that ages would come out too young.
    fn notice_clock_jump(&self, now: &Reading) {
        let offset = now.offset_millis();
        // Acquire and Release: who sees the new offset sees the flush that was made for it.
        if offset.abs_diff(self.clock_offset.load(Ordering::Acquire)) > CLOCK_JUMP_MILLIS {
            self.fence.flush();
            self.clock_offset.store(offset, Ordering::Release);
        }
    }
}
