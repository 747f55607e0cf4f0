//! A feed with one fault at a time, around one that has none.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tower_token_auth::{
    Subject,
    store::{ChannelFeed, Heard, RevocationFeed, StoreError},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Says that it is well when it is asked, and not when it has told what was before.
    AnswersEarly,
    /// Answers the oldest probe alone.
    AnswersTheFirst,
    /// Sends the nonce as a number of JSON.
    CountsInFloats,
    /// Takes the answer to another feed's probe for one to its own.
    AnswersForOthers,
    /// Works on what it took in, and loses it with the future.
    DropsHalfway,
    ForgetsOwners,
    /// Looks when it is probed, and not otherwise.
    TellsWhenAsked,
    TellsFewOfMany,
    /// Has always more to say than what it is asked.
    TellsWithoutEnd,
    /// Connects again without a word.
    HidesGaps,
    ListensOnce,
    /// Does not come back from an error.
    StaysDeaf,
}

/// The probes of all feeds of one test, each with its feed's number.
pub(super) type Probes = Arc<Mutex<Vec<(usize, u64)>>>;

pub(super) struct Broken {
    inner: ChannelFeed,
    fault: Fault,
    early: VecDeque<u64>,
    probes: Probes,
    number: usize,
    /// How many of the probes it saw.
    seen: usize,
    told: usize,
    listened: bool,
    failed: bool,
    asked: Option<u64>,
}

impl Broken {
    pub(super) fn with(fault: Fault, inner: ChannelFeed, probes: &Probes) -> Self {
        let mut all = probes.lock().unwrap();
        // Each feed begins with one of nobody.
        all.push((usize::MAX, 0));
        Self {
            inner,
            fault,
            early: VecDeque::new(),
            probes: Arc::clone(probes),
            number: all.len(),
            seen: 0,
            told: 0,
            listened: false,
            failed: false,
            asked: None,
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl RevocationFeed for Broken {
    async fn listen(&mut self) -> Result<(), StoreError> {
        if self.is(Fault::ListensOnce) && self.listened || self.is(Fault::StaysDeaf) && self.failed
        {
            return Err(StoreError::unavailable("it listened before"));
        }
        self.listened = true;
        self.asked = None;
        self.early.clear();
        self.seen = self.probes.lock().unwrap().len();
        self.inner.listen().await
    }

    async fn probe(&mut self, nonce: u64) -> Result<(), StoreError> {
        self.probes.lock().unwrap().push((self.number, nonce));
        match self.fault {
            Fault::AnswersEarly => {
                self.early.push_back(nonce);
                Ok(())
            }
            Fault::AnswersTheFirst if self.asked.is_some() => Ok(()),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "that is the fault"
            )]
            Fault::CountsInFloats => self.inner.probe(nonce as f64 as u64).await,
            _ => {
                self.asked = Some(nonce);
                self.inner.probe(nonce).await
            }
        }
    }

    async fn next(&mut self) -> Result<Heard, StoreError> {
        if let Some(nonce) = self.early.pop_front() {
            return Ok(Heard::Alive(nonce));
        }
        if self.is(Fault::TellsWithoutEnd) {
            return Ok(Heard::Everything);
        }
        if self.is(Fault::AnswersForOthers) {
            let probes = self.probes.lock().unwrap();
            while let Some((number, nonce)) = probes.get(self.seen) {
                self.seen += 1;
                if ![self.number, usize::MAX].contains(number) {
                    return Ok(Heard::Alive(*nonce));
                }
            }
        }
        if self.is(Fault::TellsWhenAsked) && self.asked.is_none() {
            return std::future::pending().await;
        }
        loop {
            let heard = match self.inner.next().await {
                Err(_) if self.is(Fault::HidesGaps) => {
                    self.inner.listen().await?;
                    if let Some(nonce) = self.asked {
                        self.inner.probe(nonce).await?;
                    }
                    continue;
                }
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
                Ok(heard) => heard,
            };
            if self.is(Fault::DropsHalfway) {
                tokio::task::yield_now().await;
            }
            match &heard {
                Heard::Alive(_) => self.asked = None,
                Heard::Revoked(subjects) => {
                    let is_owner = matches!(subjects[..], [Subject::Owner(_)]);
                    self.told += 1;
                    if self.is(Fault::ForgetsOwners) && is_owner
                        || self.is(Fault::TellsFewOfMany) && self.told % 100 == 99
                    {
                        continue;
                    }
                }
                _ => {}
            }
            return Ok(heard);
        }
    }
}
