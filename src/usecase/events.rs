//! What happens to requests and keys, told to the user's own code as it happens.

use std::sync::Arc;

use super::{config::AuthenticatorBuilder, rejection::RejectionKind};
use crate::value::{key::KeyId, owner::OwnerId};

/// Hears what an [`Authenticator`](crate::Authenticator) and its key manager do; closures do too.
///
/// # Rules
/// 1. An event is told after the fact and before the caller has its answer: a decision is made, a
///    change is committed. Nothing that a listener does can alter it; if it panics, the panic is
///    caught and the answer stands.
/// 2. It is told on the thread of the request or call that it is about, with no lock or read of
///    ours held: a slow listener delays that request, and whatever else waits for that thread, as
///    any blocking code in a service does, but no other request for the same key. Hand the event
///    over to a channel if there is more to do than counting.
/// 3. No token, digest, token key or header is in any event.
///
/// A listener that holds a clone of the authenticator it listens to keeps it alive for ever.
///
/// ```
/// # use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
/// use tower_token_auth::{Authenticator, Event, MemoryStore, RejectionKind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let unknown = Arc::new(AtomicU32::new(0));
/// let counter = Arc::clone(&unknown);
/// let listener = move |event: Event<'_>| {
///     if let Event::Failed { reason: RejectionKind::Unknown, .. } = event {
///         counter.fetch_add(1, Ordering::Relaxed);
///     }
/// };
/// let (auth, _guard) = Authenticator::builder(MemoryStore::new()).events(listener).build()?;
/// assert!(auth.authenticate("a guess").await.is_err());
/// assert_eq!(unknown.load(Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not hear events",
    note = "implement `tower_token_auth::Events` for it, or pass a closure with its parameter's \
            type: `|event: Event<'_>| …`"
)]
pub trait Events: Send + Sync + 'static {
    /// Hears one event.
    fn on(&self, event: Event<'_>);
}

impl<F> Events for F
where
    F: Fn(Event<'_>) + Send + Sync + 'static,
{
    fn on(&self, event: Event<'_>) {
        self(event);
    }
}

/// What happened to a request or a key.
///
/// Of each request that a layer judges, and of each call of `authenticate`,
/// `authenticate_authoritative` and `recheck`, at most one `Requested` is told, and then exactly one
/// of `Succeeded` and `Failed`, unless its future was dropped in between. Nested layers are each
/// told apart; a layer for scopes further in tells its own `Failed`, behind the `Succeeded` of the one
/// that admitted the request. A request that passes as anonymous or through a bypass is no event.
///
/// Changes are told when they were made by this process' key manager and are certain: after the
/// commit, and after what was cached was outdated. One that was refused, whose outcome is not known,
/// or whose caller went away in the middle, is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A credential is to be decided about. What a listener changes then may come too late for it.
    Requested,
    /// A credential was admitted.
    #[non_exhaustive]
    Succeeded {
        /// Which key it is.
        key: KeyId,
        /// Whose key it is.
        owner: &'a OwnerId,
    },
    /// A request was refused. Where no credential could be made out (missing, malformed …), or its
    /// checksum is wrong, there was nothing to look up, and no `Requested` before.
    #[non_exhaustive]
    Failed {
        /// Why.
        reason: RejectionKind,
        /// Which key it is, if the credential is a known key's.
        key: Option<KeyId>,
    },
    /// A request was refused because its key has expired; a `Failed` follows. Nothing is told at the
    /// moment of the expiry itself.
    #[non_exhaustive]
    Expired {
        /// Which key it is.
        key: KeyId,
    },
    /// A key was issued, or taken over from elsewhere.
    #[non_exhaustive]
    Created {
        /// Which key it is.
        key: KeyId,
        /// Whose key it is.
        owner: &'a OwnerId,
    },
    /// A key was changed in other ways than those that have an event of their own: its scopes, its
    /// expiry, its name …, or it was activated and was active already.
    #[non_exhaustive]
    Updated {
        /// Which key it is.
        key: KeyId,
        /// Whose key it is.
        owner: &'a OwnerId,
    },
    /// A key was made active.
    #[non_exhaustive]
    Activated {
        /// Which key it is.
        key: KeyId,
        /// Whose key it is.
        owner: &'a OwnerId,
    },
    /// A key was made inactive.
    #[non_exhaustive]
    Deactivated {
        /// Which key it is.
        key: KeyId,
        /// Whose key it is.
        owner: &'a OwnerId,
    },
    /// A key got a successor.
    #[non_exhaustive]
    Rotated {
        /// Which key it was.
        key: KeyId,
        /// Which key follows it.
        successor: KeyId,
        /// Whose keys they are.
        owner: &'a OwnerId,
    },
    /// A key was deleted.
    #[non_exhaustive]
    Deleted {
        /// Which key it was.
        key: KeyId,
        /// Whose key it was.
        owner: &'a OwnerId,
    },
}

impl AuthenticatorBuilder {
    /// Has this listener hear what happens to requests and keys; nobody does by default. Called
    /// again, it replaces the listener.
    pub fn events(mut self, listener: impl Events) -> Self {
        self.events = Some(Arc::new(listener));
        self
    }
}
