//! Waits for turns on behalf of a line, and makes the reads of those who depart.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    runtime::{Handle, Id},
    sync::OwnedSemaphorePermit,
    time::timeout,
};

use super::{super::flight::Way, Answer, Asked, Waiting};
use crate::{
    state::cache::{Cache, ReadError},
    value::{digest::TokenDigest, meter::Count},
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
        loop {
            let turn = self.cache.lanes.turn_for(self.way).await;
            let batch = self.cache.lanes.line(self.way).depart(self.runtime);
            if batch.is_empty() {
                // Whoever comes from here on has another driver, and a line that is not this one's.
                self.is_done = true;
                return;
            }
            drop(Handle::current().spawn(read(Arc::clone(&self.cache), turn, batch)));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.is_done {
            // Woken without the lock: some of them come back at once.
            drop(self.cache.lanes.line(self.way).disperse(self.runtime));
        }
    }
}

/// Makes the read of a batch. Each of its flights keeps its own time, so that this one has as long as
/// the youngest of them.
async fn read(cache: Arc<Cache>, turn: OwnedSemaphorePermit, batch: Vec<Waiting>) {
    let now = cache.clock.monotonic();
    let mut callers: HashMap<TokenDigest, Vec<Waiting>> = HashMap::with_capacity(batch.len());
    if !cache.breaker.admits(now) {
        answer(batch, &Err(ReadError::Unavailable));
        return;
    }
    let youngest = batch.iter().map(|waiting| waiting.began).max().unwrap_or(now);
    for waiting in batch {
        let _ = waiting.asked.set(Asked { at: now, is_alone: false });
        // Two flights of one digest: one was replaced, or reads for itself alone.
        callers.entry(waiting.digest).or_default().push(waiting);
    }
    if callers.len() > 1 {
        cache.meter.count(Count::Batch);
    }
    let left = cache.store_timeout.saturating_sub(now.since(youngest));
    if timeout(left, answer_all(&cache, &mut callers)).await.is_err() {
        cache.too_slow(now);
        answer(callers.into_values().flatten(), &Err(ReadError::TimedOut));
    }
    drop(turn);
}

/// Asks for all of them at once. Where a row can't be read, the store can't say which: the halves are
/// asked for by themselves, so that in the end it is refused alone.
async fn answer_all(cache: &Cache, callers: &mut HashMap<TokenDigest, Vec<Waiting>>) {
    let mut parts: Vec<Vec<TokenDigest>> = vec![callers.keys().copied().collect()];
    while let Some(mut part) = parts.pop() {
        let found = match part[..] {
            [digest] => cache.ask(digest).await.map(Vec::from_iter),
            _ => cache.ask_many(&part).await,
        };
        match cache.judged(found) {
            Ok(found) => {
                for record in found {
                    let waiting = callers.remove(record.key().digest());
                    answer(waiting.into_iter().flatten(), &Ok(Some(record)));
                }
                let absent = part.iter().filter_map(|digest| callers.remove(digest));
                answer(absent.flatten(), &Ok(None));
            }
            Err(ReadError::Unreadable) if part.len() > 1 => {
                let half = part.split_off(part.len() / 2);
                parts.extend([part, half]);
            }
            Err(ReadError::Unreadable) => {
                let waiting = part.iter().filter_map(|digest| callers.remove(digest));
                answer(waiting.flatten(), &Err(ReadError::Unreadable));
            }
            Err(error) => {
                answer(callers.drain().flat_map(|(_, waiting)| waiting), &Err(error));
                return;
            }
        }
    }
}

fn answer(callers: impl IntoIterator<Item = Waiting>, answer: &Answer) {
    for waiting in callers {
        // Who has gone by now does not hear it.
        let _ = waiting.answer.send(answer.clone());
    }
}
