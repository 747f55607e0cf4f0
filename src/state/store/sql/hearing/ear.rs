//! The connection that listens.

use std::{future, pin::pin, task::Poll, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _,
    postgres::{PgConnectOptions, PgListener, PgNotification, PgPoolOptions},
};
use tokio::runtime::Handle;

use super::{Told, gap, round::Round};
use crate::{
    state::store::{
        error::StoreError,
        feed::Heard,
        sql::{primary::is_primary, telling},
    },
    value::{key::KeyId, owner::OwnerId, subject::Subject},
};

/// How long a connection may take that listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// It says nothing for a long time, and is not to be ended for that (a setting since PostgreSQL 14).
const STAY: &str = "SELECT set_config(name, '0', false) FROM pg_settings \
     WHERE name = 'idle_session_timeout'";

pub(in crate::state::store) struct Ear<S: Told>(
    /// `None` only while it is dropped.
    Option<Parts<S>>,
    /// On which sqlx takes leave of the server: it needs one even where a feed is dropped outside any.
    Handle,
);

struct Parts<S> {
    listener: PgListener,
    round: Round<S>,
    /// Where heartbeats come, those of this feed alone.
    alive: String,
    /// One that came in while it still held the connection by which it was sent. It is told when that is
    /// given back, so that a feed which nobody asks holds none.
    back: Option<u64>,
}

impl<S: Told> Ear<S> {
    /// Listens where the store's connections lead, or at another place from which the same is heard.
    pub(in crate::state::store) async fn open(
        store: &S,
        at: Option<&PgConnectOptions>,
    ) -> Result<Self, StoreError> {
        let telling = store.telling();
        let look = telling::standing(&telling);
        let before = store.look(look.clone()).await?;
        refused(&before)?;
        if !before.is_whole {
            store.mend().await?;
        }
        let at = at.cloned().unwrap_or_else(|| store.leads_to());
        let at = at.statement_cache_capacity(0);
        // By itself first, as a pool would keep to itself why a connection can't be made.
        let mut first = at.connect().await.map_err(|error| S::trouble_at(&at, error))?;
        is_primary(&mut first).await.map_err(|error| S::trouble_at(&at, error))?;
        first.close().await.map_err(S::failure)?;
        // Of its own, and new each time: an older one may wait for a server that is gone.
        let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
        let pool = pool.acquire_timeout(PATIENCE).connect_lazy_with(at);
        let mut listener = PgListener::connect_with(&pool).await.map_err(S::failure)?;
        listener.eager_reconnect(false);
        sqlx::raw_sql(STAY).execute(&mut listener).await.map_err(S::failure)?;
        let (_, number) = KeyId::random().as_uuid().as_u64_pair();
        let alive = telling.heartbeats(number);
        let round = Round::new(store, alive.clone());
        let mut ear = Self(Some(Parts { listener, round, alive, back: None }), Handle::current());
        let Parts { listener, round, alive, .. } = ear.parts();
        listener.listen_all([before.channel.as_str(), alive]).await.map_err(S::failure)?;
        // By now it listens: triggers that are there are those by which everything later is told.
        let now = store.look(look).await?;
        refused(&now)?;
        if !now.is_whole {
            return Err(StoreError::unusable(
                "the triggers that tell of changes can't be put right; does something alter them?",
            ));
        }
        round.expect(now.mark);
        Ok(ear)
    }

    /// Has a heartbeat of this number sent, as soon as it hears.
    pub(in crate::state::store) fn probe(&mut self, nonce: u64) {
        self.parts().round.want(nonce);
    }

    /// Waits for something to be heard. Dropped, it has taken nothing.
    pub(in crate::state::store) async fn hear(&mut self) -> Result<Heard, StoreError> {
        let Parts { listener, round, alive, back } = self.parts();
        loop {
            let mut comes = pin!(listener.try_recv());
            let came = future::poll_fn(|cx| {
                if let Poll::Ready(error) = round.poll(cx) {
                    return Poll::Ready(Err(error));
                }
                if let Some(nonce) = back.take_if(|nonce| !round.is_sending(*nonce)) {
                    return Poll::Ready(Ok(Came::Back(nonce)));
                }
                comes.as_mut().poll(cx).map(|came| came.map(Came::In).map_err(broken::<S>))
            });
            let heard = match came.await? {
                Came::Back(nonce) => return Ok(Heard::Alive(nonce)),
                Came::In(None) => return Err(gap("the listening connection broke")),
                Came::In(Some(notification)) => told(&notification, alive)?,
            };
            match heard {
                Heard::Alive(nonce) if round.is_sending(nonce) => *back = Some(nonce),
                heard => return Ok(heard),
            }
        }
    }

    fn parts(&mut self) -> &mut Parts<S> {
        self.0.as_mut().expect("they are there until it is dropped")
    }
}

/// Triggers that would not tell of everything are not put right.
fn refused(found: &telling::Found) -> Result<(), StoreError> {
    let why = |why| StoreError::unusable(format!("nothing can rest on triggers here: {why}"));
    found.trouble().map_or(Ok(()), |trouble| Err(why(trouble)))
}

enum Came {
    In(Option<PgNotification>),
    Back(u64),
}

fn broken<S: Told>(error: sqlx::Error) -> StoreError {
    let why = S::failure(error);
    let why = std::error::Error::source(&why).map(ToString::to_string).unwrap_or_default();
    StoreError::unusable(format!("the feed has a gap: the connection broke: {why}"))
}

/// What a notification tells.
fn told(notification: &PgNotification, alive: &str) -> Result<Heard, StoreError> {
    let payload = notification.payload();
    if notification.channel() == alive {
        let nonce = payload.parse().map_err(|_| gap("a heartbeat that can't be read came in"))?;
        return Ok(Heard::Alive(nonce));
    }
    let subject = match payload.split_at_checked(1) {
        Some(("k", id)) => id.parse().ok().map(Subject::Key),
        Some(("o", id)) if !id.is_empty() => Some(Subject::Owner(OwnerId::from(id))),
        // What can't be read may be a later release's, or anybody's: it may mean anything, and does no
        // more harm than a look at the tables.
        _ => None,
    };
    Ok(subject.map_or(Heard::Everything, |subject| Heard::Revoked(vec![subject])))
}

impl<S: Told> Drop for Ear<S> {
    fn drop(&mut self) {
        // sqlx takes leave of the server on a task, and panics where there is no runtime for it.
        let _inside = self.1.enter();
        self.0 = None;
    }
}
