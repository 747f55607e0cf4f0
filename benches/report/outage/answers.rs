//! What each request was answered, and what all of them come to.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use http::StatusCode;

/// A request, and what was answered.
pub(super) struct Answer {
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    pub(super) is_cold: bool,
    pub(super) status: StatusCode,
}

/// When what happened to the server.
pub(super) struct Times {
    pub(super) stopping: Instant,
    pub(super) stopped: Instant,
    pub(super) again: Instant,
    pub(super) up: Instant,
    /// Before its start no warm key may be refused, and behind its end none admitted.
    pub(super) served: Range<Instant>,
}

impl Times {
    pub(super) fn outcome(&self, answers: &[Answer], reads: u64) -> Outcome {
        let seconds = vec![[0; 3]; (self.again - self.stopped).as_secs() as usize];
        let (last, recovery, wrong) = (Duration::ZERO, Duration::MAX, Vec::new());
        let mut outcome = Outcome { seconds, reads, wrong, last, recovery };
        for answer in answers {
            let Answer { asked, answered, is_cold, status } = *answer;
            let is_admitted = status == StatusCode::OK;
            let is_refused = status == StatusCode::SERVICE_UNAVAILABLE;
            if is_cold && is_admitted {
                let behind = answered.saturating_duration_since(self.up);
                outcome.recovery = outcome.recovery.min(behind);
            }
            let is_too_late = is_admitted && answered < self.again && asked > self.served.end;
            let is_too_early = !is_admitted && !is_cold && answered < self.served.start;
            let is_cold_hit = is_cold && is_admitted && answered < self.again;
            if !is_admitted && !is_refused || is_too_late || is_too_early || is_cold_hit {
                let kind = if is_cold { "cold" } else { "warm" };
                let asked = asked.saturating_duration_since(self.stopping);
                let took = answered - answer.asked;
                let line =
                    format!("{status} for a {kind} key {asked:?} behind the stop, in {took:?}");
                outcome.wrong.push(line);
            }
            if asked < self.stopped || answered >= self.again {
                continue;
            }
            if is_admitted {
                outcome.last = outcome.last.max(asked - self.stopped);
            }
            let second = (answered - self.stopped).as_secs() as usize;
            if let Some(counts) = outcome.seconds.get_mut(second) {
                counts[usize::from(!is_admitted) + usize::from(!is_admitted && !is_refused)] += 1;
            }
        }
        outcome
    }
}

/// What came of one outage at one node.
pub(super) struct Outcome {
    /// Of each second: admitted, refused as 503, and anything else.
    pub(super) seconds: Vec<[u64; 3]>,
    /// Reads that were tried while the server was down.
    pub(super) reads: u64,
    /// Answers that were not as promised.
    pub(super) wrong: Vec<String>,
    /// From the stop of the server to the last admission, while it was down.
    pub(super) last: Duration,
    pub(super) recovery: Duration,
}
