//! A revocation feed that does as a test says.

use std::{
    future,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tower_token_auth::store::{Heard, RevocationFeed, StoreError};

/// A test that waits for longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a listening feed is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Listens and answers every probe.
    Well,
    /// Listens, takes probes, and never answers one.
    Silent,
    /// Does not listen.
    Deaf,
    /// Hangs in listening until the mood changes.
    Hanging,
    /// Listens, and fails at the first probe.
    Failing,
    /// Listens, and never finishes taking a probe.
    Stuck,
    /// Panics in whatever it is asked, silently as it does not pass the panic hook.
    Panicking,
}

/// A test's end of a [`ScriptedFeed`].
#[derive(Clone)]
pub(crate) struct Line {
    mood: watch::Sender<Mood>,
    listens: watch::Sender<usize>,
    probes: watch::Sender<Vec<u64>>,
    rests: Arc<Mutex<usize>>,
    /// How long listening takes by tokio's clock.
    delay: Arc<Mutex<Duration>>,
    told: mpsc::UnboundedSender<Result<Heard, StoreError>>,
}

/// The feed's end; one per [`Line`].
pub(crate) struct ScriptedFeed {
    line: Line,
    told: mpsc::UnboundedReceiver<Result<Heard, StoreError>>,
}

pub(crate) fn line(mood: Mood) -> (Line, ScriptedFeed) {
    let (sender, told) = mpsc::unbounded_channel();
    let line = Line {
        mood: watch::Sender::new(mood),
        listens: watch::Sender::new(0),
        probes: watch::Sender::default(),
        rests: Arc::default(),
        delay: Arc::default(),
        told: sender,
    };
    (line.clone(), ScriptedFeed { line, told })
}

impl Line {
    pub(crate) fn becomes(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub(crate) fn listening_takes(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    pub(crate) fn tell(&self, heard: Heard) {
        self.told.send(Ok(heard)).expect("the feed is there");
    }

    pub(crate) fn fail(&self) {
        let error = StoreError::unavailable("a test said so");
        self.told.send(Err(error)).expect("the feed is there");
    }

    /// How often it was told to listen.
    pub(crate) fn listens(&self) -> usize {
        *self.listens.borrow()
    }

    /// How often it was let rest.
    pub(crate) fn rests(&self) -> usize {
        *self.rests.lock().unwrap()
    }

    pub(crate) fn probes(&self) -> Vec<u64> {
        self.probes.borrow().clone()
    }

    /// Waits until it was told to listen `count` times in all.
    pub(crate) async fn listened(&self, count: usize) {
        let mut listens = self.listens.subscribe();
        let listened = listens.wait_for(|listens| *listens >= count);
        let listened = timeout(PATIENCE, listened).await.expect("it is told to listen");
        listened.expect("the line holds the sender");
    }

    /// Waits until the feed itself was dropped.
    pub(crate) async fn dropped(&self) {
        timeout(PATIENCE, self.told.closed()).await.expect("it is dropped");
    }
}

impl RevocationFeed for ScriptedFeed {
    async fn listen(&mut self) -> Result<(), StoreError> {
        self.line.listens.send_modify(|listens| *listens += 1);
        let delay = *self.line.delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut mood = self.line.mood.subscribe();
        let mood = *mood.wait_for(|mood| *mood != Mood::Hanging).await.expect("held");
        match mood {
            Mood::Panicking => std::panic::resume_unwind(Box::new("a test said so")),
            Mood::Deaf => Err(StoreError::unavailable("nobody listens")),
            _ => Ok(()),
        }
    }

    async fn probe(&mut self, nonce: u64) -> Result<(), StoreError> {
        self.line.probes.send_modify(|probes| probes.push(nonce));
        let mood = *self.line.mood.borrow();
        match mood {
            Mood::Well => self.line.tell(Heard::Alive(nonce)),
            Mood::Failing => return Err(StoreError::other("the probe could not be sent")),
            Mood::Stuck => future::pending().await,
            _ => {}
        }
        Ok(())
    }

    fn rest(&mut self) {
        *self.line.rests.lock().unwrap() += 1;
    }

    async fn next(&mut self) -> Result<Heard, StoreError> {
        let mut mood = self.line.mood.subscribe();
        tokio::select! {
            biased;
            _ = mood.wait_for(|mood| *mood == Mood::Panicking) => {
                std::panic::resume_unwind(Box::new("a test said so"))
            }
            told = self.told.recv() => told.expect("the line holds a sender"),
        }
    }
}
