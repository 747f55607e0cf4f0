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

#[cfg(test)]
mod tests {
    use std::{
        future,
        panic::{AssertUnwindSafe, catch_unwind},
        sync::Mutex,
        task::{Context, Waker},
    };

    use super::*;
    use crate::value::key::KeyId;

    #[derive(Default)]
    struct Heard(Mutex<Vec<Subject>>);

    impl Outdate for Heard {
        fn outdate(&self, subjects: &[Subject]) {
            self.0.lock().unwrap().extend_from_slice(subjects);
        }
    }

    impl Heard {
        fn count(&self) -> usize {
            self.0.lock().unwrap().len()
        }
    }

    fn subjects() -> [Subject; 1] {
        [Subject::Key(KeyId::random())]
    }

    // Negative control: without `Armed`'s `drop`, every assertion of a 1 in these tests fails.
    #[tokio::test]
    async fn outdates_unless_it_is_certain_that_nothing_changed() {
        let outcomes = [
            (Ok(()), 1),
            (Err(StoreError::unavailable("gone")), 1),
            (Err(StoreError::other("odd")), 1),
            (Err(StoreError::duplicate()), 0),
            (Err(StoreError::not_found()), 0),
            (Err(StoreError::unsupported("it")), 0),
            (Err(StoreError::not_applied()), 0),
        ];
        for (outcome, expected) in outcomes {
            let (heard, shown) = (Heard::default(), format!("{outcome:?}"));
            let _ = settle(&heard, &subjects(), future::ready(outcome)).await;
            assert_eq!(heard.count(), expected, "{shown}");
        }
    }

    #[test]
    fn outdates_when_it_is_dropped_or_panics_but_not_before_it_began() {
        let (heard, subjects) = (Heard::default(), subjects());
        drop(settle(&heard, &subjects, future::pending::<Result<(), _>>()));
        assert_eq!(heard.count(), 0, "the store was never asked");

        let mut context = Context::from_waker(Waker::noop());
        let mut dropped = Box::pin(settle(&heard, &subjects, future::pending::<Result<(), _>>()));
        assert!(dropped.as_mut().poll(&mut context).is_pending());
        assert_eq!(heard.count(), 0, "not before the outcome");
        drop(dropped);
        assert_eq!(heard.count(), 1);

        let panics = async { panic!("a store that panics") };
        let mut panicked = Box::pin(settle::<()>(&heard, &subjects, panics));
        let caught = catch_unwind(AssertUnwindSafe(|| panicked.as_mut().poll(&mut context)));
        assert!(caught.is_err());
        assert_eq!(heard.count(), 2);
    }
}
