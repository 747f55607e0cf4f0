//! Makes a change and outdates what it touches, however the change ends.

use crate::{state::store::StoreError, usecase::authenticator::Inner, value::subject::Subject};

/// Whoever has to hear that something changed.
pub(super) trait Outdate: Sync {
    /// Outdates all that was read about `subjects` before this call.
    fn outdate(&self, subjects: &[Subject]);
}

impl Outdate for Inner {
    fn outdate(&self, subjects: &[Subject]) {
        self.invalidate(subjects);
    }
}

/// Runs `change`, then outdates `subjects`, then answers.
///
/// They are outdated unless it is certain that nothing changed: after a commit, after an error that
/// may have come behind a commit, when this future is dropped, and when `change` panics. A definite
/// refusal outdates nothing, so that made-up ids do not fill the fence with stamps.
pub(super) async fn settle<T>(
    outdate: &impl Outdate,
    subjects: &[Subject],
    change: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let armed = Armed { outdate, subjects };
    let outcome = change.await;
    match &outcome {
        Err(error) if error.is_definite() => armed.disarm(),
        _ => drop(armed),
    }
    outcome
}

/// Outdates its subjects when it is dropped: it is armed before the store is asked.
struct Armed<'a, O: Outdate> {
    outdate: &'a O,
    subjects: &'a [Subject],
}

impl<O: Outdate> Armed<'_, O> {
    fn disarm(mut self) {
        self.subjects = &[];
    }
}

impl<O: Outdate> Drop for Armed<'_, O> {
    fn drop(&mut self) {
        if !self.subjects.is_empty() {
            self.outdate.outdate(self.subjects);
        }
    }
}
