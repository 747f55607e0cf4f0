//! Makes a change and outdates what it touches, however the change ends.

use std::pin::pin;

use super::ledger::Ledger;
use crate::{
    state::store::StoreError,
    usecase::{
        inner::Inner,
        maintenance::{Places, Repair, Settler},
    },
    value::subject::Subject,
};

/// Whoever has to hear how a change ended.
pub(super) trait Aftermath: Sync {
    /// It was made: outdates all that was read about `subjects` before this call.
    fn made(&self, subjects: &[Subject]);
    /// It may or may not have been made: nothing is said about `subjects` until it is repaired.
    fn lost(&self, subjects: Vec<Subject>, repair: Repair, places: Places);
}

impl Aftermath for Inner {
    fn made(&self, subjects: &[Subject]) {
        self.invalidate(subjects);
        self.settler.overtaken(subjects);
    }

    fn lost(&self, subjects: Vec<Subject>, repair: Repair, places: Places) {
        Settler::lost(&self.settler, subjects, repair, places);
    }
}

/// Runs `change`, then outdates what the ledger says, then answers.
///
/// It is lost, and handed over to be repaired, unless it is certain what was made: after an error that
/// may have come behind a commit, when this future is dropped, and when `change` panics. `places` was
/// taken before, so that there is room for it then.
pub(super) async fn settle<T>(
    aftermath: &impl Aftermath,
    ledger: &Ledger,
    places: Places,
    change: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    // Dropped last: a change that is lost is known as lost before the store lets go of its rows, so
    // that whoever waited for them finds it.
    let mut change = pin!(change);
    let armed = Armed { aftermath, ledger, places: Some(places) };
    let outcome = change.as_mut().await;
    match outcome {
        Ok(made) => {
            armed.made();
            Ok(made)
        }
        Err(error) if error.is_definite() => {
            armed.disarm();
            Err(error)
        }
        // The store never came to ask what to write.
        Err(error) if ledger.is_empty() => {
            armed.disarm();
            Err(StoreError::not_applied_because(error))
        }
        Err(error) => Err(error),
    }
}

/// Hands the change over when it is dropped: it is armed before the store is asked.
struct Armed<'a, A: Aftermath> {
    aftermath: &'a A,
    ledger: &'a Ledger,
    places: Option<Places>,
}

impl<A: Aftermath> Armed<'_, A> {
    fn made(mut self) {
        self.aftermath.made(&self.ledger.subjects());
        self.places = None;
    }

    fn disarm(mut self) {
        self.places = None;
    }
}

impl<A: Aftermath> Drop for Armed<'_, A> {
    fn drop(&mut self) {
        let Some(mut places) = self.places.take() else { return };
        if !self.ledger.is_empty() {
            let (subjects, repair) = (self.ledger.subjects(), self.ledger.repair());
            places.keep(repair.rows());
            self.aftermath.lost(subjects, repair, places);
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
    use crate::{
        usecase::maintenance::Goal,
        value::{
            digest::TokenDigest,
            key::{ApiKey, KeyId},
        },
    };

    #[derive(Default)]
    struct Heard(Mutex<(usize, usize)>);

    impl Aftermath for Heard {
        fn made(&self, subjects: &[Subject]) {
            self.0.lock().unwrap().0 += subjects.len();
        }

        fn lost(&self, subjects: Vec<Subject>, _: Repair, _: Places) {
            self.0.lock().unwrap().1 += subjects.len();
        }
    }

    impl Heard {
        /// How many subjects of made and of lost changes.
        fn counts(&self) -> (usize, usize) {
            *self.0.lock().unwrap()
        }
    }

    fn key() -> ApiKey {
        let digest = TokenDigest::of(Default::default(), "token");
        ApiKey::new(KeyId::random(), digest, "ada".into(), chrono::DateTime::UNIX_EPOCH)
    }

    /// A key by its id and by its digest.
    fn decided() -> Ledger {
        let ledger = Ledger::default();
        ledger.adds(Goal::Delete(key()));
        ledger
    }

    // Negative control: without `Armed`'s `drop`, every assertion of a lost change fails.
    #[tokio::test]
    async fn a_change_is_made_or_lost_unless_it_is_certain_that_nothing_changed() {
        let outcomes = [
            (Ok(()), (2, 0)),
            (Err(StoreError::unavailable("gone")), (0, 2)),
            (Err(StoreError::other("odd")), (0, 2)),
            (Err(StoreError::duplicate()), (0, 0)),
            (Err(StoreError::not_found()), (0, 0)),
            (Err(StoreError::unsupported("it")), (0, 0)),
            (Err(StoreError::not_applied()), (0, 0)),
        ];
        for (outcome, expected) in outcomes {
            let (heard, shown) = (Heard::default(), format!("{outcome:?}"));
            let _ = settle(&heard, &decided(), Places::spare(), future::ready(outcome)).await;
            assert_eq!(heard.counts(), expected, "{shown}");
        }
        // Nothing was decided, so that nothing can have been written: a definite error comes of it.
        let (heard, ledger) = (Heard::default(), Ledger::default());
        let failed = future::ready(Err::<(), _>(StoreError::unavailable("no connection")));
        let outcome = settle(&heard, &ledger, Places::spare(), failed).await;
        assert!(outcome.unwrap_err().is_not_applied());
        assert_eq!(heard.counts(), (0, 0));
    }

    #[test]
    fn a_change_is_lost_when_it_is_dropped_or_panics_but_not_before_it_began() {
        let (heard, ledger) = (Heard::default(), decided());
        let pending = future::pending::<Result<(), _>>;
        drop(settle(&heard, &ledger, Places::spare(), pending()));
        assert_eq!(heard.counts(), (0, 0), "the store was never asked");

        let mut context = Context::from_waker(Waker::noop());
        let mut dropped = Box::pin(settle(&heard, &ledger, Places::spare(), pending()));
        assert!(dropped.as_mut().poll(&mut context).is_pending());
        assert_eq!(heard.counts(), (0, 0), "not before the outcome");
        drop(dropped);
        assert_eq!(heard.counts(), (0, 2));

        let (heard, ledger) = (Heard::default(), decided());
        let panics = async { panic!("a store that panics") };
        let mut panicked = Box::pin(settle::<()>(&heard, &ledger, Places::spare(), panics));
        let caught = catch_unwind(AssertUnwindSafe(|| panicked.as_mut().poll(&mut context)));
        assert!(caught.is_err());
        assert_eq!(heard.counts(), (0, 2));
    }

    /// A store may begin its transaction anew, and its closure then say no.
    #[tokio::test]
    async fn a_decision_that_was_taken_back_is_not_lost() {
        let (heard, ledger, key) = (Heard::default(), Ledger::default(), key());
        ledger.adds(Goal::Delete(key.clone()));
        ledger.begin(key.id());
        let failed = future::ready(Err::<(), _>(StoreError::unavailable("gone")));
        let outcome = settle(&heard, &ledger, Places::spare(), failed).await;
        assert!(outcome.unwrap_err().is_not_applied());
        assert_eq!(heard.counts(), (0, 0));
    }
}
