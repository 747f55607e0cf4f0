//! The way round by which the listening connection is asked whether it still hears: a heartbeat, sent
//! through the connections that commit.
//!
//! It is sent while the feed hears. A heartbeat that waits, for a place in a full pool or for a server
//! that is slow, keeps no revocation from being heard meanwhile; one that comes behind it waits for
//! it and stands for it, so that there is one under way at most.

use std::{
    future,
    pin::Pin,
    task::{Context, Poll},
};

use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::{
    super::{super::error::StoreError, PostgresStore},
    gap,
    standing::Standing,
};

type Sending = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

pub(super) struct Round {
    store: PostgresStore,
    /// Where heartbeats come in.
    alive: String,
    /// Asks what stands of the triggers.
    look: String,
    /// What stood of them when the feed began to listen.
    standing: String,
    /// The number of the heartbeat that is to be sent next.
    wanted: Option<u64>,
    /// The one that is under way. It is kept here, so that whoever stops hearing loses nothing.
    sending: Option<Sending>,
}

impl Round {
    pub(super) fn new(store: &PostgresStore, alive: String, look: String) -> Self {
        let store = store.clone();
        Self { store, alive, look, standing: String::new(), wanted: None, sending: None }
    }

    /// From now on, triggers that do not stand like this are a gap.
    pub(super) fn expect(&mut self, standing: String) {
        self.standing = standing;
    }

    /// Has a heartbeat of this number sent.
    pub(super) fn want(&mut self, nonce: u64) {
        self.wanted = Some(nonce);
    }

    /// Sends what is to be sent; ends only with an error, which is a gap.
    pub(super) async fn send(&mut self) -> StoreError {
        future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<StoreError> {
        loop {
            if self.sending.is_none() {
                let Some(nonce) = self.wanted.take() else { return Poll::Pending };
                self.sending = Some(self.heartbeat(nonce));
            }
            let sending = self.sending.as_mut().expect("it was there or was just made");
            let Poll::Ready(sent) = sending.as_mut().poll(cx) else { return Poll::Pending };
            self.sending = None;
            if let Err(error) = sent {
                return Poll::Ready(error);
            }
        }
    }

    /// Sends the number by the way that changes take, and looks after the triggers on it.
    fn heartbeat(&self, nonce: u64) -> Sending {
        let (look, alive) = (&self.look, &self.alive);
        let sql =
            format!("SELECT s.*, pg_notify('{alive}', '{nonce}')::text AS sent FROM ({look}) AS s");
        let (store, standing) = (self.store.clone(), self.standing.clone());
        Box::pin(async move {
            let now = Standing::read(&store, AssertSqlSafe(sql).into_sql_str()).await?;
            if now.standing != standing {
                return Err(gap("the triggers that tell of changes were altered"));
            }
            Ok(())
        })
    }
}
