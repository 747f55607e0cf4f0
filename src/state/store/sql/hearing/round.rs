//! The way round by which the listening connection is asked whether it still hears: a heartbeat, sent
//! through the connections that commit.
//!
//! It is sent while the feed hears. A heartbeat that waits, for a place in a full pool or for a server
//! that is slow, keeps no revocation from being heard meanwhile; one that comes behind it waits for
//! it and stands for it, so that there is one under way at most.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use super::{Told, gap};
use crate::state::store::{error::StoreError, sql::telling};

/// For how long a heartbeat may wait inside the server, in milliseconds. Commits that notify go one at a
/// time, so that it waits for one that waits for a standby, and a statement's timeout is over by then.
const PATIENCE: u64 = 3_000;

type Sending = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

pub(super) struct Round<S> {
    store: S,
    /// Where heartbeats come in.
    alive: String,
    /// What stood of the triggers when the feed began to listen.
    mark: String,
    /// The number of the heartbeat that is to be sent next.
    wanted: Option<u64>,
    /// The one that is under way, with its number. It is kept here, so that whoever stops hearing loses
    /// nothing.
    sending: Option<(u64, Sending)>,
}

impl<S: Told> Round<S> {
    pub(super) fn new(store: &S, alive: String) -> Self {
        Self { store: store.clone(), alive, mark: String::new(), wanted: None, sending: None }
    }

    /// From now on, triggers that do not stand like this are a gap.
    pub(super) fn expect(&mut self, mark: String) {
        self.mark = mark;
    }

    /// Has a heartbeat of this number sent.
    pub(super) fn want(&mut self, nonce: u64) {
        self.wanted = Some(nonce);
    }

    /// Whether this one is still under way: it may come in before the server has told that it was sent.
    pub(super) fn is_sending(&self, nonce: u64) -> bool {
        self.sending.as_ref().is_some_and(|(sending, _)| *sending == nonce)
    }

    /// Sends what is to be sent; ready only with an error, which is a gap.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<StoreError> {
        loop {
            let (_, sending) = match (&mut self.sending, self.wanted) {
                (Some(sending), _) => sending,
                (None, None) => return Poll::Pending,
                (None, Some(nonce)) => {
                    self.wanted = None;
                    let heartbeat = self.heartbeat(nonce);
                    self.sending.insert((nonce, heartbeat))
                }
            };
            let Poll::Ready(sent) = sending.as_mut().poll(cx) else { return Poll::Pending };
            self.sending = None;
            if let Err(error) = sent {
                return Poll::Ready(error);
            }
        }
    }

    /// Sends the number by the way that changes take, and looks after the triggers on it.
    fn heartbeat(&self, nonce: u64) -> Sending {
        let look = telling::standing(&self.store.telling());
        let alive = &self.alive;
        let sql = format!(
            "SET LOCAL lock_timeout = {PATIENCE}; \
             SELECT s.*, pg_notify('{alive}', '{nonce}')::text AS sent FROM ({look}) AS s"
        );
        let (store, mark) = (self.store.clone(), self.mark.clone());
        Box::pin(async move {
            if store.look(sql).await?.mark != mark {
                return Err(gap("the triggers that tell of changes were altered"));
            }
            Ok(())
        })
    }
}
