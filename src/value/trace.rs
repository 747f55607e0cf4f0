//! What is logged and told to spans, for those who have the feature `tracing`: nothing without it.
//!
//! Every line has the target `tower_token_auth`. None has any part of a token, nor its digest.

#[cfg(not(feature = "tracing"))]
pub(crate) use off::{StoreTrouble, admitted, changed, refused, warn};
#[cfg(feature = "tracing")]
pub(crate) use on::{StoreTrouble, admitted, changed, refused, warn};

#[cfg(feature = "tracing")]
mod on {
    use std::{
        fmt::Display,
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use tracing::{Span, debug, field::display, info, level_filters::LevelFilter};

    use crate::value::{clock::Monotonic, key::KeyId};

    const TARGET: &str = "tower_token_auth";
    /// The least time between two lines about reads that failed: a store that is down is one piece
    /// of news, however many requests notice.
    const BETWEEN_LINES: Duration = Duration::from_secs(1);

    /// Tells the current span whose request it is, if it declares the field `key_id`.
    #[inline]
    pub(crate) fn admitted(key: impl FnOnce() -> KeyId) {
        // With nobody to tell it to, which one load says, there is no span to be found.
        if LevelFilter::current() != LevelFilter::OFF {
            Span::current().record("key_id", display(key()));
        }
    }

    pub(crate) fn refused(kind: &'static str, key: Option<KeyId>) {
        debug!(target: TARGET, kind, key_id = key.map(display), "request refused");
    }

    /// `what` is what became of the key, in one word.
    pub(crate) fn changed(what: &'static str, key: KeyId) {
        info!(target: TARGET, key_id = %key, "key {what}");
    }

    pub(crate) fn warn(message: &'static str, error: &(impl Display + ?Sized)) {
        tracing::warn!(target: TARGET, %error, "{message}");
    }

    /// Warns of reads that failed, once a second at most.
    #[derive(Debug, Default)]
    pub(crate) struct StoreTrouble {
        /// When the next line may be written, in nanoseconds. Relaxed: it guards nothing, and a
        /// line more does no harm.
        next_line: AtomicU64,
    }

    impl StoreTrouble {
        pub(crate) fn warn(&self, now: Monotonic, error: &(impl Display + ?Sized)) {
            let at = self.next_line.load(Ordering::Relaxed);
            let next = now.after(BETWEEN_LINES).as_nanos();
            let (ok, or) = (Ordering::Relaxed, Ordering::Relaxed);
            if now.as_nanos() >= at && self.next_line.compare_exchange(at, next, ok, or).is_ok() {
                warn("the key store could not be read", error);
            }
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod off {
    #![allow(clippy::unused_self, reason = "the twin of what does something")]
    use std::fmt::Display;

    use crate::value::{clock::Monotonic, key::KeyId};

    #[inline]
    pub(crate) fn admitted(_: impl FnOnce() -> KeyId) {}

    #[inline]
    pub(crate) fn refused(_kind: &'static str, _: Option<KeyId>) {}

    #[inline]
    pub(crate) fn changed(_what: &'static str, _: KeyId) {}

    #[inline]
    pub(crate) fn warn(_message: &'static str, _: &(impl Display + ?Sized)) {}

    /// With a field, so that it is made as the other one is.
    #[derive(Debug, Default)]
    pub(crate) struct StoreTrouble(());

    impl StoreTrouble {
        #[inline]
        pub(crate) fn warn(&self, _: Monotonic, _: &(impl Display + ?Sized)) {}
    }
}
