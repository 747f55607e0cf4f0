//! Drains the recorder and what is renewed at the end of a service, and settles what is unknown.

use std::{fmt, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::time;

use super::{report::ShutdownReport, worker::pause_after, writer::Writer};
use crate::usecase::{maintenance::Settler, sliding::Renewals};

/// Keeps the access recorder, later expiries, and changes whose outcome is unknown, reachable for a
/// clean end.
///
/// Dropping it detaches the recorder and does not stop it: while its runtime lives, a worker writes
/// what is queued, and ends once the last clone of the authenticator is gone. A process that is
/// killed loses the uses of the last second, and of the statement that was under way.
#[must_use = "call `shutdown` at the end, or the last uses may go unwritten"]
pub struct Guard {
    pub(super) writer: Option<Arc<Writer>>,
    settler: Option<Arc<Settler>>,
    renewals: Renewals,
}

impl Guard {
    pub(super) fn new(writer: Option<Arc<Writer>>) -> Self {
        Self { writer, settler: None, renewals: Renewals::default() }
    }

    /// Has it settle changes as well.
    pub(in crate::usecase) fn settling(self, settler: Arc<Settler>) -> Self {
        Self { settler: Some(settler), ..self }
    }

    /// Has it write later expiries as well.
    pub(in crate::usecase) fn renewing(self, renewals: Renewals) -> Self {
        Self { renewals, ..self }
    }

    /// Writes what the recorder still holds, and the later expiries that keys' uses gave them
    /// ([`sliding_expiry`](crate::AuthenticatorBuilder::sliding_expiry)), and settles changes whose
    /// [outcome is unknown](crate::KeyError::is_outcome_unknown), for at most `deadline`; says what
    /// became of them. Call it when the server has answered its last request.
    ///
    /// # Panics
    /// Outside a tokio runtime, or on one whose timers are disabled.
    ///
    /// # Cancellation
    /// A store that fails is tried again until the deadline. Cancelled, it leaves the rest with
    /// their own workers, as dropping the guard does.
    pub async fn shutdown(self, deadline: Duration) -> ShutdownReport {
        let (writer, settler) = (self.writer.as_deref(), self.settler.as_ref());
        let before = writer.map_or(0, |writer| writer.counters.written());
        // The report tells what did not make it.
        let all = both(both(written(writer), settled(settler)), self.renewals.drain());
        let _ = time::timeout(deadline, all).await;
        let report = writer.map_or_else(ShutdownReport::off, |w| ShutdownReport::of(w, before));
        report
            .with_unsettled(settler.map_or(0, |settler| settler.unsettled()))
            .with_unwritten_renewals(self.renewals.held())
    }
}

/// Neither waits for the other, as one of them may fail until the deadline.
async fn both(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut is_one_done, mut is_other_done) = (false, false);
    poll_fn(|cx| {
        is_one_done = is_one_done || one.as_mut().poll(cx).is_ready();
        is_other_done = is_other_done || other.as_mut().poll(cx).is_ready();
        if is_one_done && is_other_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn settled(settler: Option<&Arc<Settler>>) {
    if let Some(settler) = settler {
        settler.drain().await;
    }
}

async fn written(writer: Option<&Writer>) {
    let Some(writer) = writer else { return };
    let mut failures = 0;
    loop {
        match writer.flush().await {
            Ok(()) if writer.is_drained() => return,
            Ok(()) => failures = 0,
            Err(_) => {
                // Quicker than the worker's own pauses: somebody is waiting.
                time::sleep(pause_after(failures) / 10).await;
                failures += 1;
            }
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.writer.as_ref().map(|writer| writer.held());
        f.debug_struct("Guard").field("held", &held).finish_non_exhaustive()
    }
}
