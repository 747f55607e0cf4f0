//! A progress bar: one line, on a terminal alone.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::{Duration, Instant},
};

const WIDTH: u64 = 30;

pub(crate) struct Bar {
    total: u64,
    begun: Instant,
    is_shown: bool,
}

impl Bar {
    #[expect(clippy::disallowed_methods, reason = "it says how long it takes")]
    pub(crate) fn new(total: u64) -> Self {
        Self { total, begun: Instant::now(), is_shown: stderr().is_terminal() }
    }

    pub(crate) fn show(&self, seen: u64) {
        if !self.is_shown {
            return;
        }
        // Rows may have come meanwhile.
        let (seen, total) = (seen, self.total.max(seen).max(1));
        let done = seen * WIDTH / total;
        let (full, empty) = ("#".repeat(done as usize), ".".repeat((WIDTH - done) as usize));
        let a_second = seen as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        let left = (total - seen) as f64 / a_second.max(0.001);
        eprint!(
            "\r[{full}{empty}] {seen} of {total} rows, {a_second:.0}/s, {left:.0} s left \x1b[K"
        );
        // A line that can't be shown is no reason to stop.
        let _ = stderr().flush();
    }

    /// Leaves the line as it is, and goes to the next. Says how long it took.
    pub(crate) fn end(self) -> Duration {
        if self.is_shown {
            eprintln!();
        }
        self.begun.elapsed()
    }
}
