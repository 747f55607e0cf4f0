//! Drains the recorder at the end of a service.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time;

use super::{report::ShutdownReport, worker::pause_after, writer::Writer};

/// Keeps the access recorder reachable for a clean end.
///
/// Dropping it detaches the recorder and does not stop it: while its runtime lives, a worker writes
/// what is queued, and ends once the last clone of the authenticator is gone. A process that is
/// killed loses the uses of the last second, and of the statement that was under way.
#[must_use = "call `shutdown` at the end, or the last uses may go unwritten"]
pub struct Guard {
    pub(super) writer: Option<Arc<Writer>>,
}

impl Guard {
    pub(super) fn new(writer: Option<Arc<Writer>>) -> Self {
        Self { writer }
    }

    /// Writes what the recorder still holds, for at most `deadline`, and says what became of it.
    /// Call it when the server has answered its last request.
    ///
    /// # Panics
    /// Outside a tokio runtime, or on one whose timers are disabled.
    ///
    /// # Cancellation
    /// A store that fails is tried again until the deadline. Cancelled, it leaves the rest with the
    /// recorder's own worker, as dropping the guard does.
    pub async fn shutdown(self, deadline: Duration) -> ShutdownReport {
        let Some(writer) = &self.writer else { return ShutdownReport::off() };
        let before = writer.counters.written();
        // The report tells what did not make it.
        let _ = time::timeout(deadline, drain(writer)).await;
        ShutdownReport::of(writer, before)
    }
}

async fn drain(writer: &Writer) {
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
