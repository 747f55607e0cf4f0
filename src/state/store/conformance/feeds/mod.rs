//! The contract of revocation feeds as a test suite, and what it asks of whoever runs it.

mod ear;
mod rules;

use std::future::ready;

use crate::{
    state::store::feed::RevocationFeed,
    value::{key::KeyId, owner::OwnerId, subject::Subject},
};

/// What [`revocation_feed`] works with: the place that changes are told of, and feeds that hear of it.
///
/// Each change is committed when it returns, and made the way others make it: past the feed, and not
/// by telling it directly. No two of them are about the same subject.
///
/// ```
/// use tower_token_auth::{
///     KeyId, OwnerId, Subject,
///     store::{ChannelFeed, RevocationChannel, conformance::{self, FeedFixture}},
/// };
///
/// struct Channel(RevocationChannel);
///
/// impl FeedFixture for Channel {
///     type Feed = ChannelFeed;
///
///     async fn feed(&self) -> ChannelFeed {
///         self.0.feed()
///     }
///     async fn change_key(&self) -> KeyId {
///         let key = KeyId::random();
///         self.0.revoke(Subject::Key(key));
///         key
///     }
///     async fn change_owner(&self) -> OwnerId {
///         let owner = OwnerId::from(KeyId::random().to_string());
///         self.0.revoke(Subject::Owner(owner.clone()));
///         owner
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// conformance::revocation_feed(&Channel(RevocationChannel::new(1_024))).await;
/// # }
/// ```
pub trait FeedFixture {
    /// The feed that is tried.
    type Feed: RevocationFeed;

    /// A new feed, as an authenticator gets it: it was not told to listen yet. Several are there at
    /// the same time.
    fn feed(&self) -> impl Future<Output = Self::Feed>;

    /// Changes what counts of a key, such as by deactivating it, and says of which.
    fn change_key(&self) -> impl Future<Output = KeyId>;

    /// Changes what counts of an owner, and says of which.
    fn change_owner(&self) -> impl Future<Output = OwnerId>;

    /// Changes far more at once than is usual, such as a hundred keys by one statement, and says of
    /// what all; of nothing where there is no such change.
    fn change_many(&self) -> impl Future<Output = Vec<Subject>> {
        ready(Vec::new())
    }

    /// Begins a gap: what is changed from now until [`mend_line`](Self::mend_line) returns is lost to
    /// all feeds that listen, such as by a connection that is cut. `false`, as by default, where a test
    /// can't do that: then nothing is tried of gaps, which are what a feed is most often wrong about.
    fn break_line(&self) -> impl Future<Output = bool> {
        ready(false)
    }

    /// Ends the gap: who is told to listen from now on can. What the fixture can only lose behind the
    /// changes, it loses here.
    fn mend_line(&self) -> impl Future<Output = ()> {
        ready(())
    }
}

/// Tries the rules of [`RevocationFeed`] that show themselves from outside.
///
/// What is told of a change may be its subject or [`Everything`](crate::store::Heard::Everything);
/// telling more than was changed is no fault. Not tried are rule 6, about panics and other runtimes, and
/// that nothing which the feed does not see is taken for a sign of life, which is for its author to
/// know.
///
/// It wants a tokio runtime with its timers on. What does not come within half a minute counts as
/// never coming.
///
/// # Panics
/// When the feed breaks a rule; the message names it.
pub async fn revocation_feed(fixture: &impl FeedFixture) {
    rules::told_by_itself(fixture).await;
    rules::told_before_the_answer(fixture).await;
    rules::answers_as_asked(fixture).await;
    rules::later_probes_stand_for_earlier_ones(fixture).await;
    rules::large_changes(fixture).await;
    rules::dropped_next(fixture).await;
    rules::listening_anew(fixture).await;
    rules::dropped_listen_and_probe(fixture).await;
    rules::side_by_side(fixture).await;
    rules::gaps(fixture).await;
}
