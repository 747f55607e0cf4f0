//! Flights that share a query.

use std::{iter::repeat_n, pin::pin};

use tokio::time::timeout;

use crate::{
    state::cache::{
        ReadError,
        flight::{Answer, Lead},
    },
    value::{clock::Monotonic, digest::TokenDigest},
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

    /// Their digests, each of them once.
    pub(super) fn digests(&self) -> Vec<TokenDigest> {
        let mut digests: Vec<_> = self.leads.iter().map(|(digest, _)| *digest).collect();
        digests.dedup();
        digests
    }

    /// Says that the store is asked for all of them.
    pub(super) fn asked(&mut self, at: Monotonic) {
        self.leads.iter_mut().filter_map(|(_, lead)| lead.as_mut()).for_each(|lead| lead.asked(at));
    }

    /// Tells those of one digest, and leaves them out from then on.
    pub(super) fn tell(&mut self, digest: &TokenDigest, answer: Answer) {
        let first = self.leads.partition_point(|(other, _)| other.as_bytes() < digest.as_bytes());
        let of_it = self.leads[first..].iter().take_while(|(other, _)| other == digest).count();
        let of_it = &mut self.leads[first..first + of_it];
        let answers = repeat_n(answer, of_it.len());
        for ((_, lead), answer) in of_it.iter_mut().zip(answers) {
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

    /// What `asked` comes to. Each of the party is told when its own time is over; `None` once nobody is
    /// left.
    pub(super) async fn in_time<T>(&mut self, asked: impl Future<Output = T>) -> Option<T> {
        let mut asked = pin!(asked);
        while let Some(oldest) = self.left().min_by_key(|lead| lead.began()) {
            let (began, left) = (oldest.began(), oldest.time_left());
            if let Ok(told) = timeout(left, &mut asked).await {
                return Some(told);
            }
            let is_late = |lead: &mut Lead| lead.began() <= began || lead.is_late();
            let late = self.leads.iter_mut().filter_map(|(_, lead)| lead.take_if(is_late));
            late.for_each(|lead| lead.answer(Err(ReadError::TimedOut)));
        }
        None
    }

    fn left(&self) -> impl Iterator<Item = &Lead> {
        self.leads.iter().filter_map(|(_, lead)| lead.as_ref())
    }
}
