//! Keeps the changes whose outcome is unknown until each was made good.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    runtime::Handle,
    sync::{self, Notify, OwnedSemaphorePermit, Semaphore},
    time,
};

use super::{
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

pub(in crate::usecase) struct Settler {
    cache: Arc<Cache>,
    /// `None` where nothing can be changed, and so nothing can be lost.
    repository: Option<Arc<dyn DynRepository>>,
    places: Arc<Semaphore>,
    queue: Mutex<Queue>,
    /// Turns to ask the store.
    pub(super) turns: Semaphore,
    /// Cuts pauses short: somebody waits for what is lost, or the store answers again.
    pub(super) hurry: Notify,
    /// Something was made good.
    pub(super) news: Notify,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    /// Oldest first; each stays until it was made good.
    waiting: Vec<Arc<Lost>>,
    /// Those of them that nobody tends, for want of a runtime.
    untended: Vec<Arc<Lost>>,
}

/// A change whose outcome is unknown.
pub(super) struct Lost {
    subjects: Vec<Subject>,
    repair: Mutex<Repair>,
    /// One try at a time: one that began earlier must not come after what the next one allowed.
    trying: sync::Mutex<()>,
    _places: Places,
}

/// Room for the rows of one change, should it be lost.
pub(in crate::usecase) struct Places(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

#[cfg(test)]
impl Places {
    /// Room of its own.
    pub(in crate::usecase) fn spare() -> Self {
        let semaphore = Arc::new(Semaphore::new(1));
        Self(semaphore.try_acquire_owned().expect("a new semaphore has its permit"))
    }
}

impl Lost {
    fn is_about(&self, subjects: &[Subject]) -> bool {
        self.subjects.iter().any(|subject| subjects.contains(subject))
    }

    fn repair(&self) -> MutexGuard<'_, Repair> {
        // Nothing under this lock can panic halfway through a change.
        self.repair.lock().unwrap_or_else(PoisonError::into_inner)
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
            queue: Mutex::default(),
            turns: Semaphore::new(TRIES_AT_ONCE),
            hurry: Notify::new(),
            news: Notify::new(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Takes room for a change of so many rows, if there is enough left.
    pub(in crate::usecase) fn places(&self, rows: u32) -> Option<Places> {
        Arc::clone(&self.places).try_acquire_many_owned(rows).ok().map(Places)
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
        let (repair, trying) = (Mutex::new(repair), sync::Mutex::new(()));
        let lost = Arc::new(Lost { subjects, repair, trying, _places: places });
        let mut queue = this.queue();
        queue.waiting.push(Arc::clone(&lost));
        queue.untended.push(lost);
        drop(queue);
        this.rouse();
    }

    /// Has what is lost tried again soon, if there is a runtime to do it on.
    pub(in crate::usecase) fn rouse(self: &Arc<Self>) {
        self.hurry.notify_waiters();
        let Ok(runtime) = Handle::try_current() else { return };
        // Out of the queue before they are handed over: a runtime that is shutting down drops a task
        // within the call, and that puts it back.
        let untended = mem::take(&mut self.queue().untended);
        for lost in untended {
            let tending = Tending { settler: Arc::clone(self), lost };
            drop(runtime.spawn(tender::tend(tending)));
        }
    }

    /// Makes good what was lost about `subjects`, in the caller's own future; where there is no
    /// runtime, all that was lost, as nobody else does. Whether nothing is left about them.
    pub(in crate::usecase) async fn settle_before(self: &Arc<Self>, subjects: &[Subject]) -> bool {
        if self.is_idle() {
            return true;
        }
        self.rouse();
        let has_runtime = Handle::try_current().is_ok();
        for lost in if has_runtime { self.leading_to(subjects) } else { self.all() } {
            // One that fails holds up those that are behind it alone.
            if has_runtime {
                tender::attempt(self, &lost).await;
            } else {
                let _ = self.settle(&lost).await;
            }
        }
        !self.is_unsettled(subjects)
    }

    /// Tries until nothing is left.
    pub(in crate::usecase) async fn drain(self: &Arc<Self>) {
        loop {
            let news = self.news.notified();
            if self.is_idle() {
                return;
            }
            self.rouse();
            let _ = time::timeout(2 * FIRST_PAUSE, news).await;
        }
    }

    /// The rows of `subjects` were changed: what was lost about them before is not given again.
    pub(in crate::usecase) fn overtaken(&self, subjects: &[Subject]) {
        let queue = self.queue();
        let about = queue.waiting.iter().filter(|lost| lost.is_about(subjects));
        about.for_each(|lost| lost.repair().overtaken(subjects));
    }

    /// The authenticator is gone: what is left is tried a few times more.
    pub(in crate::usecase) fn close(self: &Arc<Self>) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.rouse();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    pub(in crate::usecase) fn is_idle(&self) -> bool {
        self.unsettled() == 0
    }

    /// How many changes wait to be made good.
    pub(in crate::usecase) fn unsettled(&self) -> usize {
        self.queue().waiting.len()
    }

    /// Whether anything that was lost about `subjects` waits to be made good.
    pub(in crate::usecase) fn is_unsettled(&self, subjects: &[Subject]) -> bool {
        self.queue().waiting.iter().any(|lost| lost.is_about(subjects))
    }

    /// What was lost about keys of this owner, or of any, and waits to be made good.
    pub(in crate::usecase) fn lost_of(&self, owner: Option<&OwnerId>) -> Vec<Subject> {
        let queue = self.queue();
        let of = queue.waiting.iter().filter(|lost| owner.is_none_or(|id| lost.repair().is_of(id)));
        of.flat_map(|lost| lost.subjects.iter().cloned()).collect()
    }

    pub(super) fn is_waiting(&self, lost: &Arc<Lost>) -> bool {
        self.queue().waiting.iter().any(|other| Arc::ptr_eq(other, lost))
    }

    /// Whether nothing that was lost before it, about a subject that both have, is still to be made
    /// good.
    pub(super) fn is_next(&self, lost: &Arc<Lost>) -> bool {
        let queue = self.queue();
        let mut older = queue.waiting.iter().take_while(|other| !Arc::ptr_eq(other, lost));
        !older.any(|other| other.is_about(&lost.subjects))
    }

    /// Nobody tends it any more; whoever comes next with a runtime sees to it.
    pub(super) fn left_alone(&self, lost: &Arc<Lost>) {
        let mut queue = self.queue();
        if queue.waiting.iter().any(|other| Arc::ptr_eq(other, lost)) {
            queue.untended.push(Arc::clone(lost));
        }
    }

    /// What was lost about `subjects`, and before it about what that is about as well; oldest first.
    fn leading_to(&self, subjects: &[Subject]) -> Vec<Arc<Lost>> {
        let (mut about, mut leading) = (subjects.to_vec(), Vec::new());
        for lost in self.queue().waiting.iter().rev() {
            if lost.is_about(&about) {
                about.extend_from_slice(&lost.subjects);
                leading.push(Arc::clone(lost));
            }
        }
        leading.reverse();
        leading
    }

    fn all(&self) -> Vec<Arc<Lost>> {
        self.queue().waiting.clone()
    }

    /// Makes it good, if nobody has yet and it is its turn.
    pub(super) async fn settle(&self, lost: &Arc<Lost>) -> Result<(), StoreError> {
        let _alone = lost.trying.lock().await;
        if !self.is_waiting(lost) {
            return Ok(());
        }
        if !self.is_next(lost) {
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
        let mut queue = self.queue();
        queue.waiting.retain(|other| !Arc::ptr_eq(other, lost));
        queue.untended.retain(|other| !Arc::ptr_eq(other, lost));
        drop(queue);
        // Whatever else was lost about the same rows stands behind it.
        self.overtaken(&lost.subjects);
        self.cache.settled(&lost.subjects);
        self.news.notify_waiters();
        // The store answers again; and who tends this very change has nothing left to wait for.
        self.hurry.notify_waiters();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing under this lock can panic halfway through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
