//! One feed as the suite listens by it, and all that it told.

use std::{error::Error as _, time::Duration};

use tokio::time::{sleep, timeout};

use super::FeedFixture;
use crate::{
    state::store::{
        error::StoreError,
        feed::{Heard, RevocationFeed},
    },
    value::subject::Subject,
};

/// What takes longer does not come: as long as an authenticator gives a feed to listen.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// The builder's default: a feed whose probes take longer has a gap.
const FEED_TIMEOUT: Duration = Duration::from_secs(3);
/// More than any change of the suite makes a feed tell.
const MOST: usize = 100_000;
const PAUSE: Duration = Duration::from_millis(20);

/// Panics unless the rule holds.
#[track_caller]
pub(super) fn rule(holds: bool, rule: &str) {
    assert!(holds, "the feed breaks a rule of its contract: {rule}");
}

#[track_caller]
pub(super) fn ok<T>(answer: Result<T, StoreError>, call: &str) -> T {
    answer.unwrap_or_else(|error| {
        let behind = error.source().map_or_else(String::new, |source| format!(": {source}"));
        panic!("the feed's `{call}` failed where it should answer: {error}{behind}")
    })
}

/// All that was told for a while.
#[derive(Default)]
pub(super) struct Told {
    subjects: Vec<Subject>,
    is_everything: bool,
}

impl Told {
    pub(super) fn add(&mut self, heard: Heard) {
        match heard {
            Heard::Revoked(subjects) => self.subjects.extend(subjects),
            Heard::Everything => self.is_everything = true,
            Heard::Alive(_) => {}
        }
    }

    /// Whether it outdates what was read about the subject.
    pub(super) fn covers(&self, subject: &Subject) -> bool {
        self.is_everything || self.subjects.contains(subject)
    }
}

pub(super) struct Ear<F> {
    pub(super) feed: F,
    /// The latest probe's; none is used twice.
    pub(super) nonce: u64,
}

impl<F: RevocationFeed> Ear<F> {
    /// A new feed that listens, and told what it had to tell by then.
    pub(super) async fn of(fixture: &impl FeedFixture<Feed = F>) -> Self {
        let mut ear = Self { feed: fixture.feed().await, nonce: 0 };
        ear.listen().await;
        ear.told().await;
        ear
    }

    pub(super) async fn listen(&mut self) {
        let listens = timeout(PATIENCE, self.feed.listen()).await;
        let in_time = listens.ok();
        rule(in_time.is_some(), "`listen` answers within half a minute");
        ok(in_time.unwrap_or(Ok(())), "listen");
    }

    /// Listens as an authenticator does behind a gap: again after each error.
    pub(super) async fn listen_again(&mut self) {
        let listens = timeout(PATIENCE, async {
            while self.feed.listen().await.is_err() {
                sleep(PAUSE).await;
            }
        });
        let listens = listens.await.is_ok();
        rule(listens, "behind an error `listen` answers `Ok` again, once the line carries");
    }

    pub(super) async fn probe(&mut self, nonce: u64) {
        let taken = timeout(PATIENCE, self.feed.probe(nonce)).await.ok();
        rule(taken.is_some(), "`probe` does not wait for what comes in");
        ok(taken.unwrap_or(Ok(())), "probe");
    }

    /// What is heard next.
    pub(super) async fn next(&mut self, otherwise: &str) -> Heard {
        let heard = timeout(PATIENCE, self.feed.next()).await.ok();
        rule(heard.is_some(), otherwise);
        ok(heard.unwrap_or(Ok(Heard::Everything)), "next")
    }

    /// All that is told until the probe of this nonce comes back.
    pub(super) async fn until(&mut self, nonce: u64) -> Told {
        const ANSWERS: &str = "`next` answers a probe with its nonce, behind what is to be told";
        let mut told = Told::default();
        for _ in 0..MOST {
            match self.next(ANSWERS).await {
                Heard::Alive(answered) if answered == nonce => return told,
                heard => told.add(heard),
            }
        }
        panic!("the feed breaks a rule of its contract: {ANSWERS}; it tells without an end");
    }

    /// Waits until the subject is told.
    pub(super) async fn hears_of(&mut self, subject: &Subject, otherwise: &str) {
        let mut told = Told::default();
        for _ in 0..MOST {
            told.add(self.next(otherwise).await);
            if told.covers(subject) {
                return;
            }
        }
        rule(false, otherwise);
    }

    /// All that is told until a new probe comes back.
    pub(super) async fn told(&mut self) -> Told {
        self.nonce += 1;
        self.probe(self.nonce).await;
        self.until(self.nonce).await
    }

    /// The same where there may have been a gap. `None` behind an error, or where the probe does not
    /// come back as soon as an authenticator wants it.
    pub(super) async fn told_or_gap(&mut self) -> Option<Told> {
        self.nonce += 1;
        let told = timeout(FEED_TIMEOUT, async {
            self.feed.probe(self.nonce).await?;
            let mut told = Told::default();
            loop {
                match self.feed.next().await? {
                    Heard::Alive(answered) if answered == self.nonce => return Ok(told),
                    heard => told.add(heard),
                }
            }
        });
        let told: Result<Result<Told, StoreError>, _> = told.await;
        told.ok()?.ok()
    }
}
