//! Waits for turns on behalf of a line, and makes the reads of those who depart.

use std::{pin::pin, sync::Arc};

use tokio::{
    runtime::{Handle, Id},
    sync::OwnedSemaphorePermit,
    time::timeout,
};

use super::{Taken, party::Party};
use crate::{
    state::cache::{
        Cache, ReadError,
        flight::{Lead, Way},
    },
    value::meter::Count,
};

/// Drives a runtime's line of `way` until nobody is in it.
pub(super) fn drive(cache: Arc<Cache>, way: Way, runtime: &Handle) {
    let driver = Driver { cache, way, runtime: runtime.id(), is_done: false };
    // A runtime that is shutting down drops the task, and the driver with it, within this call.
    drop(runtime.spawn(driver.drive()));
}

/// Travels with the task that drives, and says that it is gone, however that came.
struct Driver {
    cache: Arc<Cache>,
    way: Way,
    runtime: Id,
    /// Whether there is no line any more: whoever comes has another driver, and a line that is not this
    /// one's.
    is_done: bool,
}

impl Driver {
    async fn drive(mut self) {
        while let Some(turn) = self.turn().await {
            let Taken { leads, was_all } = self.cache.lanes.line(self.way).depart(self.runtime);
            self.is_done = was_all;
            drop(Handle::current().spawn(read(Arc::clone(&self.cache), turn, leads)));
        }
    }

    /// The next turn; those whose time ends before it comes are told so then. `None` once nobody waits
    /// for it.
    async fn turn(&mut self) -> Option<OwnedSemaphorePermit> {
        let cache = Arc::clone(&self.cache);
        let line = cache.lanes.line(self.way);
        let mut turn = pin!(cache.lanes.turn_for(self.way));
        while !self.is_done {
            let (began, left) = line.first(self.runtime)?;
            if let Ok(turn) = timeout(left, &mut turn).await {
                return Some(turn);
            }
            let now = cache.clock.monotonic();
            let Taken { leads, was_all } = line.expire(self.runtime, began, now);
            self.is_done = was_all;
            leads.into_iter().for_each(|lead| lead.answer(Err(ReadError::TimedOut)));
        }
        None
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.is_done {
            // Abandoned without the lock: some of those who waited for them come back at once.
            drop(self.cache.lanes.line(self.way).disperse(self.runtime));
        }
    }
}

/// Makes the read of a batch, for as long as one of its flights has time.
async fn read(cache: Arc<Cache>, turn: OwnedSemaphorePermit, leads: Vec<Lead>) {
    let mut party = Party::new(leads);
    // The turn and the end of somebody's time may have come together.
    let now = cache.clock.monotonic();
    party.expire(now);
    let digests = party.digests();
    if digests.is_empty() {
        return;
    }
    if !cache.breaker.admits(now) {
        party.tell_all(&Err(ReadError::Unavailable));
        return;
    }
    party.set_asked_at(now);
    if digests.len() > 1 {
        cache.meter.count(Count::Batch);
    }
    // Where a row can't be read, the store can't say which: the halves are asked for by themselves, so
    // that in the end it is refused alone.
    let mut parts = vec![&digests[..]];
    let mut turn = Some(turn);
    while let Some(part) = parts.pop() {
        let now = cache.clock.monotonic();
        party.expire(now);
        if !party.waits_for(part) {
            continue;
        }
        let asked = async {
            match part {
                [digest] => cache.ask(*digest).await.map(Vec::from_iter),
                _ => cache.ask_many(part).await,
            }
        };
        let Some(found) = party.in_time(&cache.clock, part, asked).await else {
            cache.too_slow(now);
            continue;
        };
        match cache.judged(found) {
            Ok(found) => {
                if parts.is_empty() {
                    // The next batch can begin while this one is told.
                    turn.take();
                }
                for record in found {
                    let digest = *record.key().digest();
                    party.tell(&digest, Ok(Some(record)));
                }
                part.iter().for_each(|digest| party.tell(digest, Ok(None)));
            }
            Err(ReadError::Unreadable) if part.len() > 1 => {
                let (front, back) = part.split_at(part.len() / 2);
                parts.extend([front, back]);
            }
            Err(ReadError::Unreadable) => {
                part.iter().for_each(|digest| party.tell(digest, Err(ReadError::Unreadable)));
            }
            Err(error) => {
                party.tell_all(&Err(error));
                return;
            }
        }
    }
}
