//! What is a process' own: whether it reaches the store, which reads it holds, what it loses.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::oneshot;
use tower_token_auth::TokenDigest;

use super::log::Look;
use crate::step::{End, Fate, Made};

/// What is a process' own.
#[derive(Default)]
pub struct Own {
    is_down: AtomicBool,
    pub hold_next: AtomicBool,
    /// A manager's call waits for an answer that never comes.
    pub hangs: AtomicBool,
    fate: Mutex<Option<Doom>>,
    pub(super) held: Mutex<Vec<Held>>,
    failures: Mutex<Failures>,
}

/// A read that has looked and does not answer.
pub(super) struct Held {
    pub(super) digest: TokenDigest,
    pub(super) look: Look,
    pub(super) release: oneshot::Sender<()>,
}

/// Reads that failed in a row, as a breaker counts them.
#[derive(Clone, Copy, Default)]
struct Failures {
    in_a_row: u32,
    last_try: u64,
}

/// How the next writes are lost.
#[derive(Clone, Copy)]
pub(super) struct Doom {
    pub(super) made: Made,
    pub(super) end: End,
    pub(super) times: u8,
    pub(super) down: bool,
}

impl Own {
    /// Sets what becomes of the next writes.
    pub fn set_fate(&self, fate: Fate) {
        *self.fate.lock().unwrap() = match fate {
            Fate::Answered => None,
            Fate::Lost { made, end, times, down } => Some(Doom { made, end, times, down }),
        };
    }

    pub(super) fn take_fate(&self) -> Option<Doom> {
        let mut fate = self.fate.lock().unwrap();
        let taken = (*fate)?;
        *fate = (taken.times > 1).then_some(Doom { times: taken.times - 1, ..taken });
        Some(taken)
    }

    pub fn is_down(&self) -> bool {
        self.is_down.load(Ordering::SeqCst)
    }

    /// Whether a read may fail now: the store is down, or failed so often that it is hardly asked.
    pub fn may_fail(&self, now: u64) -> bool {
        let failures = *self.failures.lock().unwrap();
        self.is_down() || failures.in_a_row >= 3 && now < failures.last_try + 500
    }

    /// When the reads that are held looked, first the one that was held first.
    pub fn held(&self) -> Vec<(TokenDigest, Look)> {
        self.held.lock().unwrap().iter().map(|held| (held.digest, held.look)).collect()
    }

    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Lets the read that was held first answer, if there is one.
    pub fn release(&self) {
        let mut held = self.held.lock().unwrap();
        if !held.is_empty() {
            let _ = held.remove(0).release.send(());
        }
    }

    pub(super) fn tried(&self, now: u64) {
        self.failures.lock().unwrap().last_try = now;
    }

    pub(super) fn failed(&self, now: u64) {
        let mut failures = self.failures.lock().unwrap();
        failures.in_a_row += 1;
        failures.last_try = now;
    }

    pub(super) fn answered(&self) {
        self.failures.lock().unwrap().in_a_row = 0;
    }
}
