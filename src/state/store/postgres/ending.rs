//! How a change ends: committed, undone, or begun anew because it made way for another one.

use super::{
    super::error::StoreError,
    failure::{self, definite},
    session::Session,
};

/// How often a change is begun at most, when each one before it made way for another transaction.
const MAX_TRIES: usize = 5;

/// How one try of a change ended.
pub(super) enum Ended<T> {
    With(Result<T, StoreError>),
    /// It made way for another transaction, and was undone.
    Again,
}

/// Commits what was done, or rolls it back: an error before the commit was sent leaves nothing.
pub(super) async fn end<T>(
    session: Session,
    done: Result<T, StoreError>,
    tries: &mut usize,
) -> Ended<T> {
    let (outcome, is_undone) = match done {
        Ok(done) => (session.commit().await.map(|()| done), false),
        Err(error) => {
            session.rollback(&error).await;
            (Err(error), true)
        }
    };
    *tries += 1;
    match outcome {
        Err(error) if (is_undone || error.is_definite()) && failure::is_conflict(&error) => {
            if *tries < MAX_TRIES {
                Ended::Again
            } else {
                Ended::With(Err(definite(error)))
            }
        }
        Err(error) if is_undone => Ended::With(Err(definite(error))),
        outcome => Ended::With(outcome),
    }
}
