//! What the model checks do to an authenticator that nobody else can.

use std::time::Duration;

use crate::{state::cache::Sight, usecase::authenticator::Authenticator, value::subject::Subject};

impl Authenticator {
    /// A change of this subject is lost.
    #[doc(hidden)]
    pub fn suspect(&self, subject: &Subject) {
        self.inner.cache.suspect(std::slice::from_ref(subject));
    }

    /// It was made good.
    #[doc(hidden)]
    pub fn settled(&self, subject: &Subject) {
        self.inner.cache.settled(std::slice::from_ref(subject));
    }

    /// Whether something about this token is kept that nothing has outdated.
    #[doc(hidden)]
    pub fn keeps(&self, token: &str) -> bool {
        self.digest_of(token).is_ok_and(|digest| self.inner.cache.keeps(&digest))
    }

    /// Whether this thread would admit this token by itself.
    #[doc(hidden)]
    pub fn knows(&self, token: &str) -> bool {
        matches!(self.inner.cache.sight(token.as_bytes()), Sight::Known(_))
    }

    /// The feed listens, and its lease lasts for so long from now.
    #[doc(hidden)]
    pub fn feed_found(&self, lease: Duration) {
        let now = self.inner.settings.clock.monotonic();
        self.inner.cache.feed_found(now.after(lease));
    }

    /// A probe of the feed came back.
    #[doc(hidden)]
    pub fn feed_answered(&self, lease: Duration) {
        let now = self.inner.settings.clock.monotonic();
        self.inner.cache.feed_answered(now.after(lease));
    }
}
