//! Settles changes whose outcome is unknown: tries each again until the store answers.
//!
//! Until then its subjects are suspect, and nothing is admitted or refused about them. The worker is
//! started when there is something to settle, and ends in one of three ways. *Done*: nothing is left,
//! or the authenticator is gone and what was left was tried a last time. *Failed*: the store panicked.
//! *Cancelled*: its runtime was shut down. A repair stays in the queue until it was made, so that in
//! the last two cases the next change, or the next request about a suspect, starts another worker.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time,
};

use super::repair::Repair;
use crate::{
    state::{
        cache::Cache,
        store::{DynRepository, StoreError},
    },
    value::subject::Subject,
};

/// How many subjects may be suspect or part of a change that is under way. A change takes its places
/// before it begins, so that what a bad day leaves behind is bounded: some megabytes at worst.
const PLACES: usize = 4_096;
/// How long one try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause between tries; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest: a store that came back is noticed within it.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How often a repair is tried when no authenticator is left that could serve anybody wrongly.
const LAST_TRIES: u32 = 3;

pub(in crate::usecase) struct Settler {
    cache: Arc<Cache>,
    /// `None` where nothing can be changed, and so nothing can be lost.
    repository: Option<Arc<dyn DynRepository>>,
    places: Arc<Semaphore>,
    /// Oldest first; each stays until it was made.
    waiting: Mutex<VecDeque<Arc<Lost>>>,
    /// Cuts the worker's pause short.
    news: Notify,
    is_closed: AtomicBool,
    /// Invariant: whoever turns it on spawns a worker, whose end turns it off.
    is_working: AtomicBool,
}

/// A change whose outcome is unknown.
struct Lost {
    subjects: Vec<Subject>,
    repair: Repair,
    _places: Places,
}

/// Room for the subjects of one change, should it be lost.
pub(in crate::usecase) struct Places(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

#[cfg(test)]
impl Places {
    /// Room of its own.
    pub(in crate::usecase) fn spare() -> Self {
        let semaphore = Arc::new(Semaphore::new(1));
        Self(semaphore.try_acquire_owned().expect("a new semaphore has its permit"))
    }
}

impl Settler {
    pub(in crate::usecase) fn new(
        cache: Arc<Cache>,
        repository: Option<Arc<dyn DynRepository>>,
    ) -> Self {
        Self {
            cache,
            repository,
            places: Arc::new(Semaphore::new(PLACES)),
            waiting: Mutex::default(),
            news: Notify::new(),
            is_closed: AtomicBool::new(false),
            is_working: AtomicBool::new(false),
        }
    }

    /// Takes room for a change of so many subjects, if there is enough left.
    pub(in crate::usecase) fn places(&self, subjects: u32) -> Option<Places> {
        Arc::clone(&self.places).try_acquire_many_owned(subjects).ok().map(Places)
    }

    /// Takes over a change whose outcome is unknown: from here on nothing is said about its subjects.
    pub(in crate::usecase) fn lost(
        this: &Arc<Self>,
        subjects: Vec<Subject>,
        repair: Repair,
        places: Places,
    ) {
        this.cache.suspect(&subjects);
        this.waiting().push_back(Arc::new(Lost { subjects, repair, _places: places }));
        this.rouse();
    }

    /// Wakes the worker, or starts one, if there is something to settle and a runtime to do it on.
    pub(in crate::usecase) fn rouse(self: &Arc<Self>) {
        if self.is_idle() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        // SeqCst, as everywhere on this flag: cold, and the plain order in which one worker ends and
        // the next begins.
        if self.is_working.swap(true, Ordering::SeqCst) {
            self.news.notify_one();
        } else {
            // A runtime that is shutting down drops the task, and `Working` with it.
            let settler = Arc::clone(self);
            drop(runtime.spawn(work(Working { settler, is_over: false })));
        }
    }

    /// Tries once to settle what waits, in the caller's own future: where there is no runtime, a
    /// change settles what earlier ones left.
    pub(in crate::usecase) async fn settle_inline(&self) {
        while let Some(lost) = self.first() {
            if self.settle(&lost).await.is_err() {
                return;
            }
        }
    }

    /// The authenticator is gone.
    pub(in crate::usecase) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.news.notify_one();
    }

    pub(in crate::usecase) fn is_idle(&self) -> bool {
        self.waiting().is_empty()
    }

    fn first(&self) -> Option<Arc<Lost>> {
        self.waiting().front().cloned()
    }

    async fn settle_all(&self) {
        let mut failures = 0_u32;
        while let Some(lost) = self.first() {
            let settled = time::timeout(TRY_TIMEOUT, self.settle(&lost)).await;
            if matches!(settled, Ok(Ok(()))) {
                failures = 0;
                continue;
            }
            failures = failures.saturating_add(1);
            if self.is_closed.load(Ordering::SeqCst) && failures >= LAST_TRIES {
                return;
            }
            // One that can't be settled must not keep those behind it from being.
            self.waiting().rotate_left(1);
            let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures - 1));
            let pause = pause.min(MAX_PAUSE);
            // Who asks in vain about a suspect wakes the worker up to try once more, but not more
            // often than the first pause allows.
            time::sleep(FIRST_PAUSE).await;
            let _ = time::timeout(pause - FIRST_PAUSE, self.news.notified()).await;
        }
    }

    async fn settle(&self, lost: &Arc<Lost>) -> Result<(), StoreError> {
        if let Some(repository) = &self.repository {
            lost.repair.make(repository.as_ref()).await?;
        }
        self.forget(lost);
        Ok(())
    }

    /// It is certain what was made: outdates what was read meanwhile, then trusts the store again.
    fn forget(&self, lost: &Arc<Lost>) {
        let mut waiting = self.waiting();
        let Some(at) = waiting.iter().position(|other| Arc::ptr_eq(other, lost)) else { return };
        waiting.remove(at);
        drop(waiting);
        self.cache.settled(&lost.subjects);
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Lost>>> {
        // Nothing under this lock can panic halfway through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn work(mut working: Working) {
    loop {
        working.settler.settle_all().await;
        // Off first, then another look: whoever loses something in between either sees the worker
        // asleep and starts another one, or is seen here.
        let is_working = &working.settler.is_working;
        is_working.store(false, Ordering::SeqCst);
        let is_done = working.settler.is_idle() || working.settler.is_closed.load(Ordering::SeqCst);
        if is_done || is_working.swap(true, Ordering::SeqCst) {
            working.is_over = true;
            return;
        }
    }
}

/// Travels with the worker and says that it is gone, should it be cancelled or panic.
struct Working {
    settler: Arc<Settler>,
    is_over: bool,
}

impl Drop for Working {
    fn drop(&mut self) {
        if !self.is_over {
            self.settler.is_working.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests;
