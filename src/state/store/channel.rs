//! A revocation feed within one process: the plainest reading of its contract.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::broadcast::{self, Receiver, Sender, WeakSender};

use super::{
    error::StoreError,
    feed::{Heard, RevocationFeed},
};
use crate::value::subject::Subject;

/// Tells the authenticators of one process what was changed by others in it, or by a message bus
/// that the service listens to itself.
///
/// What it proves is that the channel works. A service that puts messages of a bus into it calls
/// [`flush`](Self::flush) whenever it may have missed some, such as after every reconnection.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_token_auth::{
///     Authenticator, FeedHealth, MemoryStore, NewKey, Owner, Subject, store::RevocationChannel,
/// };
///
/// let (store, channel) = (MemoryStore::new(), RevocationChannel::new(1_024));
/// let (here, _guard) = Authenticator::builder(store.clone()).build()?;
/// let (there, _guard) = Authenticator::builder(store).feed(channel.feed()).build()?;
/// # while there.feed_health() != FeedHealth::Healthy { tokio::task::yield_now().await }
///
/// let (key, token) = here.keys().create(Owner::staff("ada"), NewKey::named("first")).await?;
/// assert!(there.authenticate(token.expose()).await.is_ok());
/// here.keys().deactivate(key.id()).await?;
/// channel.revoke(Subject::Key(key.id()));
/// // Soon, and not only when the fresh TTL ends:
/// while there.authenticate(token.expose()).await.is_ok() {
///     tokio::task::yield_now().await;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RevocationChannel {
    sender: Sender<Told>,
    /// The number of the next feed.
    feeds: Arc<AtomicU64>,
}

#[derive(Clone)]
enum Told {
    Subject(Subject),
    Everything,
    /// A probe on its way back to the feed of that number.
    Probe {
        feed: u64,
        nonce: u64,
    },
}

impl RevocationChannel {
    /// A channel that holds up to `capacity` messages, at least 1, for a feed that is behind. One
    /// that is further behind than that has a gap, and its authenticator drops all it has cached.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        // More than a broadcast channel can have would panic.
        let capacity = capacity.clamp(1, 1 << 20);
        Self { sender: Sender::new(capacity), feeds: Arc::default() }
    }

    /// A feed for one authenticator.
    #[must_use]
    pub fn feed(&self) -> ChannelFeed {
        // Relaxed: the numbers only have to differ.
        let number = self.feeds.fetch_add(1, Ordering::Relaxed);
        ChannelFeed { sender: self.sender.downgrade(), receiver: None, number }
    }

    /// Tells every feed that whatever was read about `subject` is outdated. Call it after the
    /// commit.
    pub fn revoke(&self, subject: Subject) {
        self.tell(Told::Subject(subject));
    }

    /// Tells every feed that everything is outdated.
    pub fn flush(&self) {
        self.tell(Told::Everything);
    }

    fn tell(&self, told: Told) {
        // Nobody listens: whoever begins to drops what was cached before.
        let _ = self.sender.send(told);
    }
}

impl fmt::Debug for RevocationChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationChannel")
            .field("feeds", &self.sender.receiver_count())
            .finish_non_exhaustive()
    }
}

/// One authenticator's end of a [`RevocationChannel`]. It fails once every clone of the channel is
/// gone.
pub struct ChannelFeed {
    /// Weak, as a feed that kept its own channel open could never notice its end.
    sender: WeakSender<Told>,
    receiver: Option<Receiver<Told>>,
    number: u64,
}

impl RevocationFeed for ChannelFeed {
    async fn listen(&mut self) -> Result<(), StoreError> {
        self.receiver = Some(self.sender.upgrade().ok_or_else(closed)?.subscribe());
        Ok(())
    }

    async fn probe(&mut self, nonce: u64) -> Result<(), StoreError> {
        // Behind all that was told before, by the same way.
        let probe = Told::Probe { feed: self.number, nonce };
        let sent = self.sender.upgrade().ok_or_else(closed)?.send(probe);
        sent.map(drop).map_err(|_| StoreError::unavailable("this feed does not listen"))
    }

    async fn next(&mut self) -> Result<Heard, StoreError> {
        let receiver = self.receiver.as_mut();
        let receiver =
            receiver.ok_or_else(|| StoreError::unavailable("this feed does not listen"))?;
        loop {
            match receiver.recv().await {
                Ok(Told::Subject(subject)) => return Ok(Heard::Revoked(vec![subject])),
                Ok(Told::Everything) => return Ok(Heard::Everything),
                Ok(Told::Probe { feed, nonce }) if feed == self.number => {
                    return Ok(Heard::Alive(nonce));
                }
                Ok(Told::Probe { .. }) => {}
                Err(broadcast::error::RecvError::Closed) => return Err(closed()),
                Err(lagged) => return Err(StoreError::unavailable(lagged)),
            }
        }
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("the revocation channel is gone: keep a clone of it")
}

impl fmt::Debug for ChannelFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelFeed")
            .field("is_listening", &self.receiver.is_some())
            .finish_non_exhaustive()
    }
}
