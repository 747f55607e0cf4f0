//! How word of changes made elsewhere comes in: the contract for revocation feeds.

use std::time::Duration;

use super::error::StoreError;
use crate::value::subject::Subject;

/// How one authenticator hears of changes that others made to its store: of revocations above all.
///
/// An authenticator owns its feed and asks it from one task, one call at a time. It keeps a *lease*:
/// until when the feed is known to work. Only the authenticator extends it, by a heartbeat and a
/// timeout from the moment at which it sent a probe that came back; a feed only answers. While no
/// lease runs, what is cached is relied on for a short time only.
///
/// # Rules
/// 1. A *gap* is any stretch of time of which the feed can't tell for certain that it told every
///    change committed in it: a connection that was lost, a message that was dropped or can't be
///    read, a place in a log that is gone. A feed that finds one answers [`next`](Self::next) with
///    an error. Every error, of any method and of any kind, counts as a gap.
/// 2. After a gap the authenticator calls [`listen`](Self::listen) until it answers `Ok`, drops all
///    that it has cached, and only then relies on the feed again. A feed that can bridge a gap by
///    itself may answer [`Heard::Everything`] instead, once it listens again.
/// 3. Telling too much does no harm but a read of the store. So a feed that anybody may write to can
///    be used: what comes in can only ever make the authenticator look again.
/// 4. Every future may be dropped at any await point. A dropped `next` loses nothing: what it had
///    taken in is told by the next call. After a dropped `listen` or `probe` the feed is told to
///    listen anew.
/// 5. While `listen` or `probe` runs, nothing is heard. `listen` has half a minute, `probe` the
///    builder's `feed_timeout`; what a probe has to wait for belongs into `next`.
/// 6. A feed that hears of a part of the keys only, such as of those that were used lately, says with
///    [`longest_fresh_ttl`](Self::longest_fresh_ttl) how long the others may be relied on.
/// 7. A feed may panic; that is a gap as well. It is then asked to listen again, like a feed whose
///    runtime was shut down, perhaps on another runtime than before.
///
/// # By a carrier of one's own
/// Revocations can travel by Redis, NATS, a queue, or anything else that carries a few bytes. What it
/// takes, and who does it:
///
/// * *Whoever changes the store publishes*, after the commit, and whatever it changes: the subject, never
///   a token or a digest that it stands for. What is committed and not published is a gap that nobody
///   can see; a program that might die in between writes the message in the same transaction and
///   sends it from there (an outbox).
/// * *`listen` subscribes*, and answers once the carrier has confirmed that, not when it was asked to.
/// * *`probe` publishes the nonce* by the way that revocations take, through the same broker and behind
///   them, on a channel of this feed's own or with its number: so it shows that the whole way works. A
///   `PING` on the connection that receives shows less than that, and no answer may be made up here.
/// * *The authenticator extends the lease*, by each answer and by nothing else, counted from when it
///   asked. A feed keeps no clock of its own, and need not notice a silent line.
/// * *Gaps* are: a connection that was lost and is there again, though the client's library does that by
///   itself (have it say so, or switch that off); a subscriber that the broker dropped or passed over for
///   being slow, as Redis does behind `client-output-buffer-limit` and NATS as a slow consumer; a failover
///   to a replica, as what was published may not have reached it; a number that is missing where
///   messages are numbered; a message that can't be read. Redis' and core NATS' messages are gone for
///   whoever does not listen, so that each of these is an error. A log with positions (Redis Streams,
///   NATS JetStream, Kafka) may go on from the one that was told last, if all from there is kept still.
/// * *Order*: an answer must not overtake what was committed before the probe. Where several brokers, or
///   parts of a topic, carry the messages, a probe has to come back from each.
///
/// `conformance::revocation_feed` (with the feature `test-util`) tries all this on a feed.
///
/// ```
/// use tokio::sync::mpsc::error::TryRecvError;
/// use tower_token_auth::store::{Heard, RevocationFeed, StoreError};
///
/// /// Hears from a task of one's own that every key is to be looked up again.
/// struct Bell(tokio::sync::mpsc::Receiver<()>, Option<u64>);
///
/// impl RevocationFeed for Bell {
///     async fn listen(&mut self) -> Result<(), StoreError> {
///         if self.0.is_closed() { Err(StoreError::unavailable("nobody rings")) } else { Ok(()) }
///     }
///     async fn probe(&mut self, nonce: u64) -> Result<(), StoreError> {
///         self.1 = Some(nonce);
///         Ok(())
///     }
///     async fn next(&mut self) -> Result<Heard, StoreError> {
///         // All that was rung before the probe is told before it is answered.
///         match (self.0.try_recv(), self.1.take()) {
///             (Ok(()), nonce) => self.1 = nonce,
///             (Err(TryRecvError::Empty), Some(nonce)) => return Ok(Heard::Alive(nonce)),
///             (Err(_), _) => {
///                 self.0.recv().await.ok_or_else(|| StoreError::unavailable("nobody rings"))?;
///             }
///         }
///         Ok(Heard::Everything)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no revocation feed",
    note = "implement `tower_token_auth::store::RevocationFeed` for it"
)]
pub trait RevocationFeed: Send + 'static {
    /// Begins to listen, or begins anew after an error. When it answers `Ok`, every change that is
    /// committed from then on will be heard, or an error will say that some may not have been.
    ///
    /// # Errors
    /// When it can't listen. It is called again after a pause, which grows to some seconds.
    fn listen(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Asks for a proof of life: `nonce` comes back by [`next`](Self::next) once everything
    /// committed before this call has been told. A later probe's answer stands for the earlier ones.
    ///
    /// The proof is worth what it passes through: a feed whose connection only receives has to send
    /// something round by the way that changes take.
    ///
    /// # Errors
    /// When it can't be sent, which is a gap.
    fn probe(&mut self, nonce: u64) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The next thing heard; waits until there is one. It may be dropped at any await point and
    /// called again, and nothing is lost by that.
    ///
    /// # Errors
    /// When something may have gone unheard.
    fn next(&mut self) -> impl Future<Output = Result<Heard, StoreError>> + Send;

    /// There is a gap, and nothing is asked of this feed for a while; then it is told to listen anew. One
    /// that holds something others could use meanwhile, such as a connection, gives it up. By default it
    /// does nothing.
    fn rest(&mut self) {}

    /// The longest fresh TTL, `stale_if_error` included, with which what this feed tells is enough; `None`,
    /// the default, for one that tells of every change. `AuthenticatorBuilder::build` refuses a longer one.
    fn longest_fresh_ttl(&self) -> Option<Duration> {
        None
    }
}

/// What a [`RevocationFeed`] heard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// Something changed about these subjects: whatever was read about them before is outdated.
    Revoked(Vec<Subject>),
    /// Anything may have changed: a change too large to be told one by one, or a gap that the feed
    /// bridged by itself.
    Everything,
    /// The answer to the probe of this nonce.
    Alive(u64),
}
