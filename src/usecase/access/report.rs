//! What became of the uses that were queued, and of changes whose outcome was unknown.

use std::fmt;

use super::writer::Writer;

/// What the access recorder did, and what it left, when its guard was shut down. Its `Display` is
/// one line for the end of a service's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownReport {
    written: u64,
    written_at_shutdown: u64,
    unwritten: u64,
    lost: u64,
    turned_away: u64,
    unsettled: usize,
    unwritten_renewals: usize,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Off,
    Unsupported,
    On,
}

impl ShutdownReport {
    pub(super) fn off() -> Self {
        Self {
            written: 0,
            written_at_shutdown: 0,
            unwritten: 0,
            lost: 0,
            turned_away: 0,
            unsettled: 0,
            unwritten_renewals: 0,
            standing: Standing::Off,
        }
    }

    pub(super) fn of(writer: &Writer, written_before: u64) -> Self {
        let written = writer.counters.written();
        let standing = if writer.has_given_up() { Standing::Unsupported } else { Standing::On };
        Self {
            written,
            written_at_shutdown: written.saturating_sub(written_before),
            unwritten: writer.held() as u64,
            lost: writer.counters.lost(),
            turned_away: writer.counters.turned_away(),
            unsettled: 0,
            unwritten_renewals: 0,
            standing,
        }
    }

    pub(super) fn with_unsettled(self, unsettled: usize) -> Self {
        Self { unsettled, ..self }
    }

    pub(super) fn with_unwritten_renewals(self, unwritten_renewals: usize) -> Self {
        Self { unwritten_renewals, ..self }
    }

    /// How many times a last use was written, since the authenticator was built.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many of them were written during the shutdown.
    #[must_use]
    pub fn written_at_shutdown(&self) -> u64 {
        self.written_at_shutdown
    }

    /// How many keys' last use was still unwritten when the deadline passed.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// How many uses were queued and given up, as the store can't write them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How many uses found the queue full. Each left its key due, so that a later use of the same
    /// key was recorded in its stead, if there was one.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// How many changes whose [outcome is unknown](crate::KeyError::is_outcome_unknown) were not
    /// settled when the deadline passed: look at the keys and owners in the store.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// How many keys' later expiries
    /// ([`sliding_expiry`](crate::AuthenticatorBuilder::sliding_expiry)) were still unwritten when the
    /// deadline passed: those keys expire as they would have without their last use.
    #[must_use]
    pub fn unwritten_renewals(&self) -> usize {
        self.unwritten_renewals
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, written_at_shutdown, unwritten, lost, .. } = self;
        match self.standing {
            Standing::Off => f.write_str("access recorder: off, nothing was to be written")?,
            Standing::Unsupported => write!(
                f,
                "access recorder: {written} written; the store can't write last uses, {lost} lost"
            )?,
            Standing::On => write!(
                f,
                "access recorder: {written} written ({written_at_shutdown} at shutdown), \
                 {unwritten} unwritten"
            )?,
        }
        if self.standing == Standing::On && self.turned_away > 0 {
            write!(f, ", {} turned away by a full queue", self.turned_away)?;
        }
        if self.unsettled > 0 {
            write!(f, "; {} changes of unknown outcome not settled", self.unsettled)?;
        }
        if self.unwritten_renewals > 0 {
            write!(f, "; {} later expiries unwritten", self.unwritten_renewals)?;
        }
        Ok(())
    }
}
