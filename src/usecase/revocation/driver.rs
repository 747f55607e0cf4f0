//! Drives the feed: one task at a time, which asks, hears, and keeps the lease.
//!
//! A driver ends in one of three ways. *Done*: the authenticator is gone. *Failed*: the feed
//! panicked, or the runtime has no timers; a rest passes before another driver starts. *Cancelled*:
//! its runtime was shut down, or its task aborted; the next read of the store, wherever it is made,
//! starts another. However it ends, the feed is left for the next driver, which begins by listening
//! anew, and the lease is left to end by itself.

use std::{
    convert::Infallible,
    error::Error,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    thread,
    time::Duration,
};

use tokio::{runtime::Handle, time};

use super::{News, Shared, lock, pulse::Probes};
use crate::{
    state::store::{DynFeed, Heard, StoreError},
    value::{clock::CLOCK_JUMP_MILLIS, meter::Count, trace},
};

/// How long listening may take: a connection to a database far away, and its tables looked over.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause behind a gap, doubled with each one that no answered probe lies between: a feed that
/// fails as soon as it listens must not flush the cache in a loop.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: by then the short TTL has held for a while, and costs reads.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The rest after a panic.
const REST: Duration = Duration::from_secs(10);

/// Starts a driver. Whoever calls has turned `is_working` on.
pub(super) fn start(shared: &Arc<Shared>, runtime: &Handle) {
    let feed = lock(&shared.feed).take();
    let alive = Alive { shared: Arc::clone(shared), feed };
    // A runtime that is shutting down drops the task, and `alive` with it, within this call.
    drop(runtime.spawn(drive(alive)));
}

async fn drive(mut alive: Alive) {
    let shared = Arc::clone(&alive.shared);
    let feed = alive.feed.as_mut().expect("the feed is with the one driver");
    let mut run = pin!(run(&shared, &mut **feed));
    let mut closing = pin!(shared.closing.notified());
    std::future::poll_fn(|cx| match closing.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => run.as_mut().poll(cx).map(|never| match never {}),
    })
    .await;
}

async fn run(shared: &Shared, feed: &mut dyn DynFeed) -> Infallible {
    let mut failures = 0;
    loop {
        // The lease counts from here, as the feed may have begun to listen at any time since.
        let began = shared.clock.monotonic();
        let gap = match time::timeout(LISTEN_TIMEOUT, feed.listen()).await {
            Ok(Ok(())) => {
                shared.cache.feed_found(shared.pulse.lease_from(began));
                attend(shared, feed, &mut failures).await
            }
            Ok(Err(error)) => Gap::Error(error),
            Err(_) => Gap::Silent("it did not begin to listen in time"),
        };
        shared.cache.feed_lost();
        shared.note(&gap);
        feed.rest();
        time::sleep(pause_after(failures)).await;
        failures = failures.saturating_add(1);
    }
}

/// Hears what the feed tells, until there is a gap.
async fn attend(shared: &Shared, feed: &mut dyn DynFeed, failures: &mut u32) -> Gap {
    let began = shared.clock.read();
    let mut probes = Probes::new(shared.pulse, began.monotonic);
    loop {
        let now = shared.clock.read();
        // A suspended machine's connections may be gone without a word.
        if now.offset_millis().abs_diff(began.offset_millis()) > CLOCK_JUMP_MILLIS {
            return Gap::Silent("the clocks diverged: was the machine suspended?");
        }
        let now = now.monotonic;
        if probes.is_overdue(now) {
            return Gap::Silent("it did not answer a probe in time");
        }
        if probes.is_due(now) {
            // Relaxed: only ever counted, by one driver at a time.
            let nonce = shared.nonce.fetch_add(1, Ordering::Relaxed);
            probes.sending(nonce, now);
            match time::timeout(shared.pulse.timeout, feed.probe(nonce)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Gap::Error(error),
                Err(_) => return Gap::Silent("it did not take a probe in time"),
            }
        }
        let now = shared.clock.monotonic();
        match time::timeout(probes.idle(now), feed.next()).await {
            // Something else is due.
            Err(_) => {}
            Ok(Err(error)) => return Gap::Error(error),
            Ok(Ok(Heard::Revoked(subjects))) => {
                shared.meter.count(Count::RevokedByFeed);
                shared.cache.revoke(&subjects);
            }
            Ok(Ok(Heard::Everything)) => {
                shared.meter.count(Count::RevokedByFeed);
                shared.cache.flush();
            }
            Ok(Ok(Heard::Alive(nonce))) => {
                if let Some(sent) = probes.answered(nonce) {
                    shared.cache.feed_answered(shared.pulse.lease_from(sent));
                    *failures = 0;
                    shared.note_health();
                }
            }
        }
    }
}

/// Why something may have gone unheard.
pub(super) enum Gap {
    Error(StoreError),
    Silent(&'static str),
}

impl Gap {
    /// One line: an error with all that lies behind it.
    fn reason(&self) -> Box<str> {
        match self {
            Self::Silent(reason) => (*reason).into(),
            Self::Error(error) => {
                let behind = std::iter::successors(error.source(), |error| (*error).source());
                let parts = std::iter::once(error.to_string());
                parts.chain(behind.map(ToString::to_string)).collect::<Vec<_>>().join(": ").into()
            }
        }
    }
}

impl Shared {
    /// The one place that learns of every gap.
    fn note(&self, gap: &Gap) {
        self.meter.count(Count::FeedGap);
        let reason = gap.reason();
        let news = News::Gap(reason.clone());
        let known = std::mem::replace(&mut *lock(&self.news), news.clone());
        // Said once, and not at every try.
        if known != news {
            trace::warn(
                "the revocation feed has a gap; what is cached is relied on for a short time only",
                &reason,
            );
        }
    }

    /// The one place that learns of every probe that came back.
    fn note_health(&self) {
        *lock(&self.news) = News::Alive;
    }
}

/// The pause before the next try, after so many that no probe was answered in.
pub(super) fn pause_after(failures: u32) -> Duration {
    MIN_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(MAX_PAUSE)
}

/// Travels with the driver and says, however it ends, that it is gone; leaves the feed behind.
struct Alive {
    shared: Arc<Shared>,
    feed: Option<Box<dyn DynFeed>>,
}

impl Drop for Alive {
    fn drop(&mut self) {
        if thread::panicking() {
            let rest = self.shared.clock.monotonic().after(REST);
            self.shared.resting_until.store(rest.as_nanos(), Ordering::SeqCst);
            self.shared.note(&Gap::Silent("it panicked, or its runtime has no timers"));
        }
        *lock(&self.shared.feed) = self.feed.take();
        self.shared.is_working.store(false, Ordering::SeqCst);
    }
}
