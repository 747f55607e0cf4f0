//! Tends one lost change: tries until it is made good, on a task of its own, so that one that is stuck
//! holds up no other.
//!
//! A try ends *made good*, or *failed*: by an error, by taking too long, by a panic of the store; then
//! another one follows after a pause. A tender ends in one of three ways. *Done*: the change was made
//! good, by it or by somebody who could not wait. *Given up*: the authenticator is gone, and nobody is
//! left who could be served wrongly. *Cancelled*: its runtime was shut down. What it leaves then waits
//! for the next change, the next request about a suspect, or the guard.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{runtime::Handle, time};

use super::{queue::Lost, settler::Settler};
use crate::{state::store::StoreError, value::trace::warn};

/// How many changes are tried at once: enough that a few which hang do not keep the others waiting,
/// few enough for a store that has just come back.
pub(super) const TRIES_AT_ONCE: usize = 8;
/// How long one try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause between tries; it doubles.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest: a store that came back is noticed within it.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How often a change is tried when no authenticator is left.
const LAST_TRIES: u32 = 3;

/// How a try failed.
#[derive(Debug)]
pub(in crate::usecase) enum Failure {
    Store(StoreError),
    TooSlow,
    Panic,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::TooSlow => f.write_str("the key store did not answer in time"),
            Self::Panic => f.write_str("the key store panicked"),
        }
    }
}

/// Travels with a tender and says that it is gone, however that came.
pub(super) struct Tending {
    pub(super) settler: Arc<Settler>,
    pub(super) lost: Arc<Lost>,
}

pub(super) async fn tend(tending: Tending) {
    let Tending { settler, lost } = &tending;
    let mut failures = 0;
    loop {
        // Before the look, so that nothing is missed after it.
        let news = settler.news.notified();
        if !settler.queue.holds(lost) {
            return;
        }
        let is_next = settler.queue.is_next(lost);
        if is_next {
            let _turn = settler.turns.acquire().await;
            let Err(failure) = attempt(settler, lost).await else { return };
            if failures == 0 {
                warn(
                    "a change whose outcome is unknown is not settled yet; it is tried again",
                    &failure,
                );
            }
            failures += 1;
        } else if settler.is_closed() {
            failures += 1;
        }
        if settler.is_closed() && failures >= LAST_TRIES {
            warn(
                "a change whose outcome is unknown was given up",
                "nobody is left who waits for it",
            );
            return;
        }
        if is_next {
            // Who asks in vain about a suspect cuts the pause short, but not below the first one.
            let hurry = settler.hurry.notified();
            time::sleep(FIRST_PAUSE).await;
            let _ = time::timeout(pause_after(failures) - FIRST_PAUSE, hurry).await;
        } else {
            let _ = time::timeout(MAX_PAUSE, news).await;
        }
    }
}

/// Tries once to make a change good. Dropped, it goes on.
///
/// # Panics
/// Outside a runtime.
pub(super) async fn attempt(settler: &Arc<Settler>, lost: &Arc<Lost>) -> Result<(), Failure> {
    let (settler, lost) = (Arc::clone(settler), Arc::clone(lost));
    // A task of its own, so that a panic of the store is a failure like any other.
    let attempt = Handle::current().spawn(async move {
        let made = time::timeout(TRY_TIMEOUT, settler.settle(&lost)).await;
        made.map_err(|_| Failure::TooSlow)?.map_err(Failure::Store)
    });
    attempt.await.unwrap_or(Err(Failure::Panic))
}

fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures - 1)).min(MAX_PAUSE)
}

impl Drop for Tending {
    fn drop(&mut self) {
        self.settler.queue.leave_alone(&self.lost);
    }
}
