//! Asks the store, and keeps count of how that goes.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use super::{Cache, ReadError};
use crate::{
    state::store::StoreError,
    value::{clock::Monotonic, digest::TokenDigest, key::Record},
};

impl Cache {
    /// The store's answer about one digest.
    pub(super) async fn ask(&self, digest: TokenDigest) -> Result<Option<Record>, Trouble> {
        let found = caught(|| self.store.find(digest)).await?;
        // Whatever a store may do: nobody is admitted as somebody else.
        if found.as_ref().is_some_and(|record| *record.key().digest() != digest) {
            let error = "the key store answered with another key than it was asked for";
            return Err(Trouble::Store(StoreError::other(error)));
        }
        Ok(found)
    }

    /// The store's answer about many, in one query.
    pub(super) async fn ask_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, Trouble> {
        caught(|| self.store.find_many(digests)).await
    }

    /// What an answer tells callers, and the breaker.
    pub(super) fn judged<T>(&self, answer: Result<T, Trouble>) -> Result<T, ReadError> {
        let trouble = match answer {
            Ok(told) => {
                self.breaker.succeeded();
                return Ok(told);
            }
            Err(trouble) => trouble,
        };
        let now = self.clock.monotonic();
        self.trouble.warn(now, &trouble);
        match trouble {
            Trouble::Store(error) if !error.is_unavailable() => Err(ReadError::Unreadable),
            Trouble::Store(_) | Trouble::Panic => {
                self.breaker.failed(now);
                Err(ReadError::Unavailable)
            }
        }
    }

    /// An answer did not come in time. Held against the store only if that had a fair share of the
    /// time: most of it may have been spent in line, and a flood of junk must not open the breaker,
    /// which would keep known digests from the turns that are reserved for them.
    pub(super) fn too_slow(&self, asked_at: Monotonic) {
        let now = self.clock.monotonic();
        if now.since(asked_at) >= self.store_timeout / 2 {
            self.trouble.warn(now, "it did not answer in time");
            self.breaker.failed(now);
        }
    }
}

/// Why an answer tells nothing.
pub(super) enum Trouble {
    Store(StoreError),
    Panic,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Panic => f.write_str("it panicked"),
        }
    }
}

/// What the store answers. A panic of it is an answer too: it must reach everybody who waits, and in
/// an inline flight not the one caller who happens to lead.
async fn caught<T, F>(begin: impl FnOnce() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let asked = catch_unwind(AssertUnwindSafe(begin));
    let mut asked = pin!(asked.map_err(|_| Trouble::Panic)?);
    std::future::poll_fn(|cx| {
        // A future that panicked is not polled again.
        match catch_unwind(AssertUnwindSafe(|| asked.as_mut().poll(cx))) {
            Ok(answer) => answer.map(|answer| answer.map_err(Trouble::Store)),
            Err(_) => Poll::Ready(Err(Trouble::Panic)),
        }
    })
    .await
}
