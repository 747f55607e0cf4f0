//! Waits for turns on behalf of a line, and makes the reads of those who depart.

use std::{pin::pin, sync::Arc};

use tokio::{
    runtime::{Handle, Id},
    sync::OwnedSemaphorePermit,
    time::timeout,
};

use super::{super::flight::Way, Taken, party::Party};
use crate::{
    state::cache::{Cache, ReadError, flight::Lead},
    value::meter::Count,
};

/// Drives this runtime's line of `way` until nobody is in it.
///
/// # Panics
/// Outside a runtime.
pub(super) fn drive(cache: Arc<Cache>, way: Way) {
    let runtime = Handle::current();
    let driver = Driver { cache, way, runtime: runtime.id(), is_done: false };
    // A runtime that is shutting down drops the task, and the driver with it, within this call.
    drop(runtime.spawn(driver.drive()));
}

/// Travels with the task that drives, and says that it is gone, however that came.
struct Driver {
    cache: Arc<Cache>,
    way: Way,
    runtime: Id,
    is_done: bool,
}

impl Driver {
    async fn drive(mut self) {
        while !self.is_done {
            let Some(turn) = self.turn().await else {
                self.is_done = true;
                return;
            };
            let Taken { leads, was_all } = self.cache.lanes.line(self.way).depart(self.runtime);
            // Whoever comes from here on has another driver, and a line that is not this one's.
            self.is_done = was_all;
            drop(Handle::current().spawn(read(Arc::clone(&self.cache), turn, leads)));
        }
    }

    /// The next turn; those whose time ends before it comes are told so then. `None` if that was all of
    /// the line.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let line = self.cache.lanes.line(self.way);
        let mut turn = pin!(self.cache.lanes.turn_for(self.way));
        loop {
            match timeout(line.time_left(self.runtime), &mut turn).await {
                Ok(turn) => return Some(turn),
                Err(_) => {
                    let Taken { leads, was_all } = line.expire(self.runtime);
                    leads.into_iter().for_each(|lead| lead.answer(Err(ReadError::TimedOut)));
                    if was_all {
                        return None;
                    }
                }
            }
        }
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
async fn read(cache: Arc<Cache>, _turn: OwnedSemaphorePermit, leads: Vec<Lead>) {
    let now = cache.clock.monotonic();
    let mut party = Party::new(leads);
    if !cache.breaker.admits(now) {
        party.tell_all(&Err(ReadError::Unavailable));
        return;
    }
    party.asked(now);
    let digests = party.digests();
    if digests.len() > 1 {
        cache.meter.count(Count::Batch);
    }
    // Where a row can't be read, the store can't say which: the halves are asked for by themselves, so
    // that in the end it is refused alone.
    let mut parts = vec![&digests[..]];
    while let Some(part) = parts.pop() {
        let asked = async {
            match part {
                [digest] => cache.ask(*digest).await.map(Vec::from_iter),
                _ => cache.ask_many(part).await,
            }
        };
        let Some(found) = party.in_time(asked).await else {
            cache.too_slow(now);
            return;
        };
        match cache.judged(found) {
            Ok(found) => {
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
