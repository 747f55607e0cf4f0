//! Flights that share a query.

use std::{iter::repeat_n, ops::Range, pin::pin};

use tokio::time::timeout;

use crate::{
    state::cache::{
        ReadError,
        flight::{Answer, Lead},
    },
    value::{
        clock::{Clock, Monotonic},
        digest::TokenDigest,
    },
};

/// Those of a batch that were not told anything yet. Dropped, they are abandoned.
pub(super) struct Party {
    /// By digest. Two flights may have one: the older was replaced, or one of them reads for itself.
    leads: Vec<(TokenDigest, Option<Lead>)>,
}

impl Party {
    pub(super) fn new(leads: Vec<Lead>) -> Self {
        let mut leads: Vec<_> =
            leads.into_iter().map(|lead| (*lead.digest(), Some(lead))).collect();
        leads.sort_unstable_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
        Self { leads }
    }

    /// The digests of those who are left, each of them once.
    pub(super) fn digests(&self) -> Vec<TokenDigest> {
        let mut digests: Vec<_> = self.left().map(|lead| *lead.digest()).collect();
        digests.dedup();
        digests
    }

    /// Notes when the store is asked for all of them.
    pub(super) fn set_asked_at(&mut self, at: Monotonic) {
        let left = self.leads.iter_mut().filter_map(|(_, lead)| lead.as_mut());
        left.for_each(|lead| lead.set_asked_at(at));
    }

    /// Whether one of these digests has somebody left.
    pub(super) fn waits_for(&self, digests: &[TokenDigest]) -> bool {
        let waits =
            |digest| self.leads[self.places_of(digest)].iter().any(|(_, lead)| lead.is_some());
        digests.iter().any(waits)
    }

    /// Tells those of one digest, and leaves them out from then on.
    pub(super) fn tell(&mut self, digest: &TokenDigest, answer: Answer) {
        let places = self.places_of(digest);
        let answers = repeat_n(answer, places.len());
        for ((_, lead), answer) in self.leads[places].iter_mut().zip(answers) {
            if let Some(lead) = lead.take() {
                lead.answer(answer);
            }
        }
    }

    /// Tells all who are left the same.
    pub(super) fn tell_all(&mut self, answer: &Answer) {
        let left = self.leads.iter_mut().filter_map(|(_, lead)| lead.take());
        left.for_each(|lead| lead.answer(answer.clone()));
    }

    /// Tells those who have no time left at `now`.
    pub(super) fn expire(&mut self, now: Monotonic) {
        self.tell_late(|lead| lead.time_left_at(now).is_zero());
    }

    /// What `asked` tells of a `part` of their digests. Each of the party is told when its own time is over;
    /// `None` once that was the last of those who wait for the part.
    pub(super) async fn in_time<T>(
        &mut self,
        clock: &Clock,
        part: &[TokenDigest],
        asked: impl Future<Output = T>,
    ) -> Option<T> {
        let mut asked = pin!(asked);
        while self.waits_for(part)
            && let Some(oldest) = self.left().min_by_key(|lead| lead.began())
        {
            let (began, left) = (oldest.began(), oldest.time_left());
            if let Ok(told) = timeout(left, &mut asked).await {
                return Some(told);
            }
            let now = clock.monotonic();
            // The timer is over for the oldest, whatever the clock reads.
            self.tell_late(|lead| lead.began() <= began || lead.time_left_at(now).is_zero());
        }
        None
    }

    fn tell_late(&mut self, is_late: impl Fn(&Lead) -> bool) {
        let late = self.leads.iter_mut().filter_map(|(_, lead)| lead.take_if(|lead| is_late(lead)));
        late.for_each(|lead| lead.answer(Err(ReadError::TimedOut)));
    }

    /// Where those of a digest are, told or not.
    fn places_of(&self, digest: &TokenDigest) -> Range<usize> {
        let first = self.leads.partition_point(|(other, _)| other.as_bytes() < digest.as_bytes());
        let count = self.leads[first..].iter().take_while(|(other, _)| other == digest).count();
        first..first + count
    }

    fn left(&self) -> impl Iterator<Item = &Lead> {
        self.leads.iter().filter_map(|(_, lead)| lead.as_ref())
    }
}
