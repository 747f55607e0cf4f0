//! Lost changes in the order of their loss, each until it was made good.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{self, OwnedSemaphorePermit};

use super::repair::Repair;
use crate::value::{owner::OwnerId, subject::Subject};

/// A change whose outcome is unknown.
pub(super) struct Lost {
    subjects: Vec<Subject>,
    repair: Mutex<Repair>,
    /// One try at a time: one that began earlier must not come behind what the next one allowed.
    pub(super) trying: sync::Mutex<()>,
    _places: Places,
}

/// Room for the rows of one change, should it be lost.
pub(in crate::usecase) struct Places(pub(super) OwnedSemaphorePermit);

impl Places {
    /// Gives back what is more than so many rows need.
    pub(in crate::usecase) fn keep(&mut self, rows: usize) {
        let surplus = self.0.num_permits().saturating_sub(rows);
        drop(self.0.split(surplus));
    }
}

#[cfg(test)]
impl Places {
    /// Room of its own.
    pub(in crate::usecase) fn spare() -> Self {
        let semaphore = Arc::new(sync::Semaphore::new(1));
        Self(semaphore.try_acquire_owned().expect("a new semaphore has its permit"))
    }
}

impl Lost {
    pub(super) fn new(subjects: Vec<Subject>, repair: Repair, places: Places) -> Arc<Self> {
        let (repair, trying) = (Mutex::new(repair), sync::Mutex::new(()));
        Arc::new(Self { subjects, repair, trying, _places: places })
    }

    pub(super) fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// What is left to be done about it.
    pub(super) fn repair(&self) -> MutexGuard<'_, Repair> {
        // Nothing under this lock can panic halfway through a change.
        self.repair.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_about(&self, subjects: &[Subject]) -> bool {
        self.subjects.iter().any(|subject| subjects.contains(subject))
    }
}

#[derive(Default)]
pub(super) struct Queue(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    /// Oldest first.
    waiting: Vec<Arc<Lost>>,
    /// Those of them that nobody tends, for want of a runtime.
    untended: Vec<Arc<Lost>>,
}

impl Lines {
    fn holds(&self, lost: &Arc<Lost>) -> bool {
        self.waiting.iter().any(|other| Arc::ptr_eq(other, lost))
    }

    fn overtaken(&self, subjects: &[Subject]) {
        let about = self.waiting.iter().filter(|lost| lost.is_about(subjects));
        about.for_each(|lost| lost.repair().overtaken(subjects));
    }
}

impl Queue {
    /// It may have written its rows after what was lost about them before.
    pub(super) fn push(&self, lost: Arc<Lost>) {
        let mut lines = self.lines();
        lines.overtaken(&lost.subjects);
        lines.waiting.push(Arc::clone(&lost));
        lines.untended.push(lost);
    }

    /// Those that nobody tends; from here on the caller does.
    pub(super) fn take_untended(&self) -> Vec<Arc<Lost>> {
        mem::take(&mut self.lines().untended)
    }

    /// Nobody tends it any more.
    pub(super) fn leave_alone(&self, lost: &Arc<Lost>) {
        let mut lines = self.lines();
        if lines.holds(lost) {
            lines.untended.push(Arc::clone(lost));
        }
    }

    /// It was made good, and has overtaken what waits behind it, before that can be its turn.
    pub(super) fn remove(&self, lost: &Arc<Lost>) {
        let mut lines = self.lines();
        lines.waiting.retain(|other| !Arc::ptr_eq(other, lost));
        lines.untended.retain(|other| !Arc::ptr_eq(other, lost));
        lines.overtaken(&lost.subjects);
    }

    /// The rows of `subjects` were changed: what was lost about them before is not given again.
    pub(super) fn overtaken(&self, subjects: &[Subject]) {
        self.lines().overtaken(subjects);
    }

    pub(super) fn len(&self) -> usize {
        self.lines().waiting.len()
    }

    pub(super) fn holds(&self, lost: &Arc<Lost>) -> bool {
        self.lines().holds(lost)
    }

    /// Whether nothing that was lost before it, about a subject that both have, still waits.
    pub(super) fn is_next(&self, lost: &Arc<Lost>) -> bool {
        let lines = self.lines();
        let mut older = lines.waiting.iter().take_while(|other| !Arc::ptr_eq(other, lost));
        !older.any(|other| other.is_about(&lost.subjects))
    }

    /// Whether anything about `subjects` waits.
    pub(super) fn is_about(&self, subjects: &[Subject]) -> bool {
        self.lines().waiting.iter().any(|lost| lost.is_about(subjects))
    }

    /// What was lost about keys of this owner, or of any.
    pub(super) fn subjects_of(&self, owner: Option<&OwnerId>) -> Vec<Subject> {
        let lines = self.lines();
        let of = lines.waiting.iter().filter(|lost| owner.is_none_or(|id| lost.repair().is_of(id)));
        of.flat_map(|lost| lost.subjects.iter().cloned()).collect()
    }

    /// What was lost about `subjects`, and before it about what that is about as well; oldest first.
    pub(super) fn leading_to(&self, subjects: &[Subject]) -> Vec<Arc<Lost>> {
        let (mut about, mut leading) = (subjects.to_vec(), Vec::new());
        for lost in self.lines().waiting.iter().rev() {
            if lost.is_about(&about) {
                about.extend_from_slice(&lost.subjects);
                leading.push(Arc::clone(lost));
            }
        }
        leading.reverse();
        leading
    }

    pub(super) fn all(&self) -> Vec<Arc<Lost>> {
        self.lines().waiting.clone()
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Nothing under this lock can panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
