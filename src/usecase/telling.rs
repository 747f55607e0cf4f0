//! How what happens is counted, logged and told.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{
    authenticated::AuthenticatedKey,
    authenticator::Authenticator,
    events::{Event, Events},
    inner::Inner,
    maintenance::Upkeep,
    rejection::{Rejection, RejectionKind},
};
use crate::value::{meter::Count, trace};

impl Inner {
    /// Counts, logs and tells what happened. To be called once it is certain, under no lock.
    #[inline]
    pub(super) fn tell(self: &Arc<Self>, event: Event<'_>) {
        if event != Event::Requested {
            self.note(event);
        }
        if let Some(listener) = self.settings.events.as_deref() {
            hear(listener, event);
        }
    }

    /// What is rarer than a request.
    #[cold]
    fn note(self: &Arc<Self>, event: Event<'_>) {
        Upkeep::rouse(self);
        match event {
            // The failure that follows is counted and logged.
            Event::Requested | Event::Succeeded { .. } | Event::Expired { .. } => {}
            Event::Failed { reason, key } => {
                self.meter.refused(reason as usize);
                trace::refused(reason.as_str(), key);
            }
            Event::Created { key, .. } => trace::changed("created", key),
            Event::Updated { key, .. } => trace::changed("updated", key),
            Event::Activated { key, .. } => trace::changed("activated", key),
            Event::Deactivated { key, .. } => trace::changed("deactivated", key),
            Event::Rotated { key, .. } => trace::changed("rotated", key),
            Event::Deleted { key, .. } => trace::changed("deleted", key),
        }
    }
}

/// An observer must not change what it observes: neither a decision that was made, nor the token of a key
/// that is already stored.
#[cold]
fn hear(listener: &dyn Events, event: Event<'_>) {
    if catch_unwind(AssertUnwindSafe(|| listener.on(event))).is_err() {
        trace::warn("a listener to events panicked", "it goes on hearing events");
    }
}

fn succeeded(key: &AuthenticatedKey) -> Event<'_> {
    Event::Succeeded { key: key.id(), owner: key.owner().id() }
}

impl Authenticator {
    pub(crate) fn tell(&self, event: Event<'_>) {
        self.inner.tell(event);
    }

    /// Tells how a request was decided, once, and passes the decision on.
    #[inline]
    pub(crate) fn told(
        &self,
        decision: Result<AuthenticatedKey, Rejection>,
    ) -> Result<AuthenticatedKey, Rejection> {
        match &decision {
            Ok(key) => self.tell_admission(key),
            Err(rejection) => self.tell_refusal(rejection),
        }
        decision
    }

    /// Tells that a request passed. Where nobody listens, the key is not even looked at.
    #[inline]
    fn tell_admission(&self, key: &AuthenticatedKey) {
        self.inner.meter.count(Count::Admitted);
        if let Some(listener) = self.inner.settings.events.as_deref() {
            hear(listener, succeeded(key));
        }
    }

    /// Tells of a request that a thread let pass by itself, all at once.
    #[inline]
    pub(super) fn tell_known(&self, key: &AuthenticatedKey) {
        self.inner.meter.count(Count::Known);
        if let Some(listener) = self.inner.settings.events.as_deref() {
            hear(listener, Event::Requested);
            hear(listener, succeeded(key));
        }
    }

    /// Tells that a request was refused.
    pub(crate) fn tell_refusal(&self, rejection: &Rejection) {
        let (reason, key) = (rejection.kind(), rejection.key());
        if let (RejectionKind::Expired, Some(key)) = (reason, key) {
            self.tell(Event::Expired { key });
        }
        self.tell(Event::Failed { reason, key });
    }
}
