//! The probes that are under way, and what their answers are worth.

use std::{collections::VecDeque, time::Duration};

use crate::value::clock::Monotonic;

/// The most probes under way at a time: more are not sent, as a heartbeat far below the timeout
/// would otherwise pile them up before a feed that is silent.
const MAX_PENDING: usize = 64;

/// How often the feed is probed, and how long its silence is borne.
#[derive(Clone, Copy, Debug)]
pub(in crate::usecase) struct Pulse {
    pub(super) heartbeat: Duration,
    pub(super) timeout: Duration,
}

impl Pulse {
    /// The end of a lease on what was known to work at `since`.
    pub(super) fn lease_from(self, since: Monotonic) -> Monotonic {
        since.after(self.heartbeat).after(self.timeout)
    }
}

/// The probes that are under way since the feed began to listen.
pub(super) struct Probes {
    pulse: Pulse,
    /// Their numbers and when they were sent, oldest first.
    pending: VecDeque<(u64, Monotonic)>,
    next: Monotonic,
}

impl Probes {
    /// The first one is due at once.
    pub(super) fn new(pulse: Pulse, now: Monotonic) -> Self {
        Self { pulse, pending: VecDeque::new(), next: now }
    }

    /// Whether one was not answered in time.
    pub(super) fn is_overdue(&self, now: Monotonic) -> bool {
        self.pending.front().is_some_and(|(_, sent)| now >= sent.after(self.pulse.timeout))
    }

    /// Whether the next one is due.
    pub(super) fn is_due(&self, now: Monotonic) -> bool {
        now >= self.next && self.pending.len() < MAX_PENDING
    }

    /// One is about to be sent: the answer is worth what held before it left.
    pub(super) fn sending(&mut self, nonce: u64, now: Monotonic) {
        self.pending.push_back((nonce, now));
        self.next = now.after(self.pulse.heartbeat);
    }

    /// How long there is nothing to do but to listen.
    pub(super) fn idle(&self, now: Monotonic) -> Duration {
        let overdue = self.pending.front().map(|(_, sent)| sent.after(self.pulse.timeout));
        let due = (self.pending.len() < MAX_PENDING).then_some(self.next);
        let until = overdue.into_iter().chain(due).min();
        until.map_or(self.pulse.timeout, |until| until.since(now))
    }

    /// A probe came back, and with it the word on all that were sent before it. Answers with when
    /// it was sent; `None` if it is none of these.
    pub(super) fn answered(&mut self, nonce: u64) -> Option<Monotonic> {
        let at = self.pending.iter().position(|(sent, _)| *sent == nonce)?;
        self.pending.drain(..=at).next_back().map(|(_, sent)| sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PULSE: Pulse =
        Pulse { heartbeat: Duration::from_secs(2), timeout: Duration::from_secs(3) };

    fn at(secs: u64) -> Monotonic {
        Monotonic::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn a_probe_is_due_each_heartbeat_and_overdue_after_the_timeout() {
        let mut probes = Probes::new(PULSE, at(10));
        assert!(probes.is_due(at(10)));
        probes.sending(1, at(10));
        assert!(!probes.is_due(at(11)) && probes.idle(at(11)) == Duration::from_secs(1));
        assert!(probes.is_due(at(12)), "whether the first was answered or not");
        probes.sending(2, at(12));
        assert!(!probes.is_overdue(at(12)) && probes.is_overdue(at(13)));
        assert_eq!(probes.answered(1), Some(at(10)));
        assert!(!probes.is_overdue(at(14)) && probes.is_overdue(at(15)));
    }

    #[test]
    fn an_answer_stands_for_earlier_probes_and_counts_once() {
        let mut probes = Probes::new(PULSE, at(0));
        (1..=3).for_each(|nonce| probes.sending(nonce, at(nonce)));
        assert_eq!(probes.answered(2), Some(at(2)));
        assert_eq!((probes.answered(1), probes.answered(2)), (None, None));
        assert_eq!(probes.answered(3), Some(at(3)));
        assert_eq!(probes.answered(9), None);
    }

    #[test]
    fn a_silent_feed_gets_no_endless_row_of_probes() {
        let mut probes = Probes::new(PULSE, at(0));
        for nonce in 0..MAX_PENDING as u64 {
            assert!(probes.is_due(at(1_000)));
            probes.sending(nonce, at(0));
        }
        assert!(!probes.is_due(at(1_000)) && probes.idle(at(1)) == Duration::from_secs(2));
    }
}
