//! Keeps changes whose outcome is unknown until each was made good, and sees to it that it is.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    time,
};

use super::{
    queue::{Lost, Places, Queue},
    repair::Repair,
    tender::{self, FIRST_PAUSE, TRIES_AT_ONCE, Tending},
};
use crate::{
    state::{
        cache::Cache,
        store::{DynRepository, StoreError},
    },
    value::{owner::OwnerId, subject::Subject},
};

/// How many rows may be suspect or part of a change that is under way: an ordinary one is kept as it
/// was and as it is to be, in some two kilobytes.
const PLACES: usize = 4_096;
/// The same for changes of many keys, which have room of their own: however many of them are lost on a
/// bad day, a single key can be revoked.
const BULK_PLACES: usize = 4_096;
/// A change of more rows than this is one of many keys.
const FEW: u32 = 4;

pub(in crate::usecase) struct Settler {
    cache: Arc<Cache>,
    /// `None` where nothing can be changed, and so nothing can be lost.
    repository: Option<Arc<dyn DynRepository>>,
    places: Arc<Semaphore>,
    /// The same for changes of many.
    bulk_places: Arc<Semaphore>,
    pub(super) queue: Queue,
    /// Turns to ask the store.
    pub(super) turns: Semaphore,
    /// Cuts pauses short: somebody waits for what is lost, or the store answers again.
    pub(super) hurry: Notify,
    /// Something was made good.
    pub(super) news: Notify,
    is_closed: AtomicBool,
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
            bulk_places: Arc::new(Semaphore::new(BULK_PLACES)),
            queue: Queue::default(),
            turns: Semaphore::new(TRIES_AT_ONCE),
            hurry: Notify::new(),
            news: Notify::new(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Takes room for a change of so many rows, if there is enough left.
    pub(in crate::usecase) fn places(&self, rows: u32) -> Option<Places> {
        let places = if rows > FEW { &self.bulk_places } else { &self.places };
        Arc::clone(places).try_acquire_many_owned(rows).ok().map(Places)
    }

    /// Takes over a change whose outcome is unknown: from here on nothing is said about its subjects.
    pub(in crate::usecase) fn lost(
        this: &Arc<Self>,
        subjects: Vec<Subject>,
        repair: Repair,
        places: Places,
    ) {
        // First, so that nobody makes it good, and trusts its subjects again, before they are suspect.
        this.cache.suspect(&subjects);
        this.queue.push(Lost::new(subjects, repair, places));
        this.rouse();
    }

    /// Has what is lost tried soon, if there is a runtime to do it on.
    pub(in crate::usecase) fn rouse(self: &Arc<Self>) {
        self.hurry.notify_waiters();
        let Ok(runtime) = Handle::try_current() else { return };
        // Out of the queue, and its lock free, before they are handed over: a runtime that is shutting
        // down drops a task within the call, and that puts it back.
        for lost in self.queue.take_untended() {
            let tending = Tending { settler: Arc::clone(self), lost };
            drop(runtime.spawn(tender::tend(tending)));
        }
    }

    /// Makes good what was lost about `subjects`, while the caller waits; where there is no runtime,
    /// all that was lost, as nobody else does. Whether nothing is left about them.
    pub(in crate::usecase) async fn settle_before(self: &Arc<Self>, subjects: &[Subject]) -> bool {
        if self.unsettled() == 0 {
            return true;
        }
        self.rouse();
        // One that can't be settled holds up those that stand behind it, and no other.
        if Handle::try_current().is_ok() {
            for lost in self.queue.leading_to(subjects) {
                let _ = tender::attempt(self, &lost).await;
            }
        } else {
            for lost in self.queue.all() {
                let _ = self.settle(&lost).await;
            }
        }
        !self.is_unsettled(subjects)
    }

    /// Has it tried until nothing is left.
    pub(in crate::usecase) async fn drain(self: &Arc<Self>) {
        loop {
            // Before the look, so that nothing is missed after it.
            let news = self.news.notified();
            if self.unsettled() == 0 {
                return;
            }
            self.rouse();
            let _ = time::timeout(2 * FIRST_PAUSE, news).await;
        }
    }

    /// The rows of `subjects` were changed: what was lost about them before is not given again.
    pub(in crate::usecase) fn overtaken(&self, subjects: &[Subject]) {
        self.queue.overtaken(subjects);
    }

    /// The authenticator is gone: what is left is tried a few times more.
    pub(in crate::usecase) fn close(self: &Arc<Self>) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.rouse();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// How many changes wait to be made good.
    pub(in crate::usecase) fn unsettled(&self) -> usize {
        self.queue.len()
    }

    /// Whether anything that was lost about `subjects` waits to be made good.
    pub(in crate::usecase) fn is_unsettled(&self, subjects: &[Subject]) -> bool {
        self.queue.is_about(subjects)
    }

    /// What waits to be made good about keys of this owner, or of any.
    pub(in crate::usecase) fn unsettled_of(&self, owner: Option<&OwnerId>) -> Vec<Subject> {
        self.queue.subjects_of(owner)
    }

    /// Makes it good, if nobody has yet and it is its turn.
    pub(super) async fn settle(&self, lost: &Arc<Lost>) -> Result<(), StoreError> {
        let _alone = lost.trying.lock().await;
        if !self.queue.holds(lost) {
            return Ok(());
        }
        if !self.queue.is_next(lost) {
            return Err(StoreError::not_applied());
        }
        if let Some(repository) = &self.repository {
            let repair = lost.repair().clone();
            repair.make(repository.as_ref()).await?;
        }
        self.made_good(lost);
        Ok(())
    }

    /// It is certain what was made: outdates what was read meanwhile, then trusts the store again.
    fn made_good(&self, lost: &Arc<Lost>) {
        self.queue.remove(lost);
        self.cache.settled(lost.subjects());
        self.news.notify_waiters();
        // The store answers again; and who tends this very change has nothing left to wait for.
        self.hurry.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
