//! The connection that listens, and the way round by which it is asked whether it still does.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _, SqlSafeStr as _,
    SqlStr,
    postgres::{PgConnectOptions, PgListener, PgNotification, PgPoolOptions, PgRow},
};
use tokio::runtime::Handle;

use super::super::{
    super::{error::StoreError, feed::Heard},
    PostgresStore, failure, migrate,
    place::Place,
    session::Session,
    telling,
};
use crate::value::{key::KeyId, owner::OwnerId, subject::Subject};

/// How long a connection may take that listens.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Ear {
    /// `None` only while it is dropped.
    listener: Option<PgListener>,
    /// On which sqlx takes leave of the server: it needs one even where a feed is dropped outside any.
    runtime: Handle,
    /// Where heartbeats come, those of this feed alone.
    alive: String,
    /// Asks what stands of the triggers.
    look: SqlStr,
    /// What stood of them when it began to listen.
    standing: String,
}

impl Ear {
    pub(super) async fn open(
        store: &PostgresStore,
        at: Option<&PgConnectOptions>,
    ) -> Result<Self, StoreError> {
        if store.is_pooled && at.is_none() {
            // It would be told "LISTEN" and hear nothing, or what is meant for somebody else.
            return Err(StoreError::unusable(
                "through a pooler in transaction mode nothing can be listened to; name the server's \
                 own URL with `PostgresFeed::listen_at`",
            ));
        }
        let look = telling::standing(&store.prefix, &store.schema);
        let look = AssertSqlSafe(look).into_sql_str();
        let before = Standing::read(store, look.clone()).await?;
        if !before.is_whole {
            repair(store).await?;
        }
        let runtime = Handle::current();
        let at = at.cloned().unwrap_or_else(|| (*store.pool.connect_options()).clone());
        let place = Place::of(&at);
        let at = at.statement_cache_capacity(0);
        // By itself first, as a pool would keep to itself why a connection can't be made.
        let mut first = at.connect().await.map_err(|error| place.trouble(error.into()))?;
        migrate::is_primary(&mut first).await.map_err(|error| place.trouble(error.into()))?;
        first.close().await.map_err(failure::of)?;
        // Of its own, and new each time: an older one may wait for a server that is gone.
        let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
        let pool = pool.acquire_timeout(PATIENCE).connect_lazy_with(at);
        let mut listener = PgListener::connect_with(&pool).await.map_err(failure::of)?;
        listener.eager_reconnect(false);
        let alive = format!("{}alive_{}", store.prefix, KeyId::random().as_uuid().simple());
        let mut ear =
            Self { listener: Some(listener), runtime, alive, look, standing: String::new() };
        let channels = [before.channel.as_str(), ear.alive.as_str()];
        let listening = ear.listener.as_mut().expect("it was just made");
        listening.listen_all(channels).await.map_err(failure::of)?;
        // By now it listens: triggers that are there are those by which everything later is told.
        let now = Standing::read(store, ear.look.clone()).await?;
        if !now.is_whole {
            return Err(StoreError::unusable(
                "the triggers that tell of changes can't be put right; does something alter them?",
            ));
        }
        ear.standing = now.standing;
        Ok(ear)
    }

    /// Sends the nonce by the way that changes take, and looks after the triggers on it.
    pub(super) async fn probe(&self, store: &PostgresStore, nonce: u64) -> Result<(), StoreError> {
        let standing = self.look.as_str();
        let sql = format!(
            "SELECT s.*, pg_notify('{}', '{nonce}')::text AS sent FROM ({standing}) AS s",
            self.alive
        );
        let now = Standing::read(store, AssertSqlSafe(sql).into_sql_str()).await?;
        if now.standing != self.standing {
            return Err(gap("the triggers that tell of changes were altered"));
        }
        Ok(())
    }

    /// Waits for something to be heard. Dropped, it has taken nothing.
    pub(super) async fn hear(&mut self) -> Result<Heard, StoreError> {
        let listener = self.listener.as_mut().expect("it is there until it is dropped");
        let notification = listener.try_recv().await.map_err(|error| {
            let why = failure::of(error);
            let why = std::error::Error::source(&why).map(ToString::to_string).unwrap_or_default();
            StoreError::unusable(format!("the feed has a gap: the connection broke: {why}"))
        })?;
        told(&notification.ok_or_else(|| gap("the listening connection broke"))?, &self.alive)
    }
}

/// What a notification tells.
fn told(notification: &PgNotification, alive: &str) -> Result<Heard, StoreError> {
    let payload = notification.payload();
    if notification.channel() == alive {
        let nonce = payload.parse().map_err(|_| gap("a heartbeat that can't be read came in"))?;
        return Ok(Heard::Alive(nonce));
    }
    let subject = match payload.split_at_checked(1) {
        Some(("*", "")) => return Ok(Heard::Everything),
        Some(("k", id)) => id.parse().ok().map(Subject::Key),
        Some(("o", id)) if !id.is_empty() => Some(Subject::Owner(OwnerId::from(id))),
        _ => None,
    };
    let subject = subject.ok_or_else(|| gap("a notification that can't be read came in"))?;
    Ok(Heard::Revoked(vec![subject]))
}

/// What stands of the triggers.
struct Standing {
    standing: String,
    is_whole: bool,
    channel: String,
}

impl Standing {
    /// By one message, so that it needs no transaction behind a pooler.
    async fn read(store: &PostgresStore, sql: SqlStr) -> Result<Self, StoreError> {
        let mut session = Session::of(&store.pool).await?;
        let row: PgRow =
            session.connection().fetch_one(sqlx::raw_sql(sql)).await.map_err(failure::of_read)?;
        session.release();
        let column = |name| row.try_get_unchecked::<String, _>(name).map_err(StoreError::other);
        Ok(Self {
            standing: column("standing")?,
            is_whole: column("is_whole")? == "true",
            channel: column("channel")?,
        })
    }
}

/// Makes the triggers anew.
async fn repair(store: &PostgresStore) -> Result<(), StoreError> {
    let missing = |why: String| {
        StoreError::unusable(format!(
            "the triggers that tell of changes are missing, or not those of this release, and {why}; \
             have the owner of the tables open the store once, or run what `PostgresOptions::ddl` \
             says of them"
        ))
    };
    if !store.may_migrate {
        return Err(missing("this store may not make them".into()));
    }
    let mut session = Session::of(&store.pool).await?;
    let made = migrate::make_triggers(session.connection(), &store.prefix, &store.schema).await;
    match made {
        Ok(()) => {
            session.release();
            Ok(())
        }
        // Dropped with its connection, whose transaction is still open.
        Err(error) => {
            let error = failure::of(error);
            Err(if error.is_unsupported() { missing(error.to_string()) } else { error })
        }
    }
}

fn gap(what: &'static str) -> StoreError {
    StoreError::unusable(format!("the feed has a gap: {what}"))
}

impl Drop for Ear {
    fn drop(&mut self) {
        // sqlx takes leave of the server on a task, and panics where there is no runtime for it.
        let _inside = self.runtime.enter();
        self.listener = None;
    }
}
