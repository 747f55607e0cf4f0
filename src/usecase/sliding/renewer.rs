//! Decides whether a use renews its key, and by what the key is judged then.

use std::sync::{Arc, atomic::Ordering};

use chrono::{DateTime, Utc};

use super::{
    book::{Noted, Renewal},
    writer::Writer,
};
use crate::{
    state::{
        cache::{Cache, Slot},
        store::DynRepository,
    },
    usecase::maintenance::Settler,
    value::{
        clock::{Clock, Reading},
        key::{Record, Slide, Status},
        meter::Levels,
    },
};

/// What an authenticator holds of its renewals: nothing, where expiries do not move. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::usecase) struct Renewals(Option<Arc<Writer>>);

impl Renewals {
    /// Nothing is spawned yet.
    pub(in crate::usecase) fn new(
        repository: Arc<dyn DynRepository>,
        cache: &Arc<Cache>,
        settler: &Arc<Settler>,
        clock: &Clock,
        slide: Slide,
    ) -> Self {
        let (cache, settler) = (Arc::clone(cache), Arc::clone(settler));
        Self(Some(Arc::new(Writer::new(repository, cache, settler, clock.clone(), slide))))
    }

    /// The record by which a key is judged in place of the slot's own: the same with the later expiry
    /// that this use gives it, or that an earlier one gave it and the store does not show yet. A
    /// decision that is to rest on the store alone leaves the latter out.
    pub(in crate::usecase) fn judged_by(
        &self,
        slot: &Arc<Slot>,
        record: &Arc<Record>,
        now: &Reading,
        rests_on_store: bool,
    ) -> Option<Arc<Record>> {
        let writer = self.0.as_ref()?;
        let until = match record.status_at(now.wall) {
            Status::Usable => writer.renewed(slot, record, now),
            Status::Expired if !rests_on_store => writer.renewed_before(record, now),
            _ => None,
        }?;
        let renewed = Arc::new(record.expiring_at(until));
        writer.cache.renew(slot, Arc::clone(&renewed));
        Some(renewed)
    }

    /// Has everything written that waits, while somebody waits for it.
    pub(in crate::usecase) async fn drain(&self) {
        if let Some(writer) = &self.0 {
            writer.drain().await;
        }
    }

    /// How many keys wait for theirs to be written.
    pub(in crate::usecase) fn held(&self) -> usize {
        self.0.as_ref().map_or(0, |writer| writer.book.len())
    }

    /// Reads off what became of the renewals so far.
    pub(in crate::usecase) fn read_off(&self, levels: &mut Levels) {
        let Some(writer) = &self.0 else { return };
        let counters = &writer.counters;
        levels.renewals_written = counters.written.load(Ordering::Relaxed);
        levels.renewals_turned_away = counters.turned_away.load(Ordering::Relaxed);
        levels.renewals_overtaken = counters.overtaken.load(Ordering::Relaxed);
        levels.renewals_given_up = counters.given_up.load(Ordering::Relaxed);
    }

    /// The authenticator is gone: what waits is written, if the store lets it be soon.
    pub(in crate::usecase) fn close(&self) {
        if let Some(writer) = &self.0 {
            Writer::close(writer);
        }
    }
}

impl Writer {
    /// The expiry that this use gives the key, if it gives one.
    fn renewed(
        self: &Arc<Self>,
        slot: &Slot,
        record: &Record,
        now: &Reading,
    ) -> Option<DateTime<Utc>> {
        let key = record.key();
        let to = self.slide.renewal(key, now.wall).filter(|_| slot.may_slide())?;
        if self.has_given_up() {
            slot.stay();
            return None;
        }
        let (id, digest, from) = (key.id(), *key.digest(), key.expires_at()?);
        let renewal = Renewal { key: id, digest, from, to, since: now.monotonic };
        match self.book.note(renewal, &self.slide) {
            Noted::Until(until) => {
                Self::rouse(self);
                Some(until)
            }
            Noted::Stays => {
                slot.stay();
                None
            }
            Noted::Full => {
                self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// The expiry that an earlier use gave a key which this record calls expired.
    fn renewed_before(&self, record: &Record, now: &Reading) -> Option<DateTime<Utc>> {
        let key = record.key();
        let until = self.book.waits_for(key.id(), key.expires_at()?, now.monotonic)?;
        (until >= now.wall).then_some(until)
    }
}
