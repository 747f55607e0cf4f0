//! How the feed is set up, and what stands in for a store that fails: every default with its reason.

use std::time::Duration;

use super::Pulse;
use crate::{
    state::{
        cache::CacheSettings,
        store::{DynFeed, RevocationFeed},
    },
    usecase::config::{AuthenticatorBuilder, ConfigError},
};

/// Below this a heartbeat would be a busy loop.
const MIN_HEARTBEAT: Duration = Duration::from_millis(10);
/// Above this nothing is bounded any more.
const MAX_SPAN: Duration = Duration::from_secs(3_600);

/// What the feed is, and how long its silence is borne. The three spans add up to the bound on a
/// change made elsewhere while the feed is down: by default 10 s, as without a feed.
pub(in crate::usecase) struct FeedSettings {
    feed: Option<Box<dyn DynFeed>>,
    /// 2 s: one small query each two seconds is no load, and a feed that went silent is found out
    /// within five.
    heartbeat: Duration,
    /// 3 s: a probe takes milliseconds; what takes longer than this is a feed in trouble, and a
    /// shorter limit would take a busy machine for one.
    timeout: Duration,
    /// 5 s, what is left of the ten: while the feed is down, each key in use costs a read in four
    /// seconds, twice as many as without a feed.
    short_ttl: Duration,
}

/// A feed with sound settings.
pub(in crate::usecase) struct Feed {
    pub(super) feed: Box<dyn DynFeed>,
    pub(super) pulse: Pulse,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            feed: None,
            heartbeat: Duration::from_secs(2),
            timeout: Duration::from_secs(3),
            short_ttl: Duration::from_secs(5),
        }
    }
}

impl FeedSettings {
    /// The feed, with the cache told of its short TTL.
    pub(in crate::usecase) fn checked(
        self,
        cache: &mut CacheSettings,
    ) -> Result<Option<Feed>, ConfigError> {
        let Self { feed, heartbeat, timeout, short_ttl } = self;
        let stale = cache.stale_if_error;
        let spans = [
            ("feed_heartbeat", heartbeat, MIN_HEARTBEAT),
            ("feed_timeout", timeout, MIN_HEARTBEAT),
            ("short_ttl", short_ttl, Duration::from_nanos(1)),
            ("stale_if_error", stale, Duration::ZERO),
        ];
        for (name, span, least) in spans {
            if span < least {
                return Err(ConfigError::new(format!(
                    "{name} is {span:?}: set it to {least:?} or more"
                )));
            }
            if span > MAX_SPAN {
                return Err(ConfigError::new(format!(
                    "{name} is {span:?}: set it to an hour or less, as it is what bounds a \
                     revocation on a bad day"
                )));
            }
        }
        let longest = feed.as_ref().and_then(|feed| feed.longest_fresh_ttl());
        let used = cache.fresh_ttl.saturating_add(stale);
        if let Some(longest) = longest.filter(|longest| used > *longest) {
            return Err(ConfigError::new(format!(
                "fresh_ttl and stale_if_error are {used:?} together: set them to {longest:?} or less, as \
                 this feed tells of keys alone that were used lately"
            )));
        }
        cache.short_ttl = feed.is_some().then_some(short_ttl);
        Ok(feed.map(|feed| Feed { feed, pulse: Pulse { heartbeat, timeout } }))
    }
}

/// How changes made elsewhere become known here.
impl AuthenticatorBuilder {
    /// Hears of changes made elsewhere, such as by another process on the same database; off by
    /// default. While the feed works, they hold as soon as it tells of them, and
    /// [`fresh_ttl`](Self::fresh_ttl) may be longer. While it does not, they hold within
    /// `feed_heartbeat`, `feed_timeout` and `short_ttl` together.
    ///
    /// Its driver is spawned when the authenticator is built, or, where that is not on a runtime,
    /// with the first read of the store on one. It ends with the last clone of the authenticator.
    pub fn feed(mut self, feed: impl RevocationFeed) -> Self {
        self.feed.feed = Some(Box::new(feed));
        self
    }

    /// How often the feed has to prove that it works; every 2 s by default: one small query then is
    /// no load, and a feed that went silent is found out within five.
    pub fn feed_heartbeat(mut self, heartbeat: Duration) -> Self {
        self.feed.heartbeat = heartbeat;
        self
    }

    /// How long such a proof may take; 3 s by default. It takes milliseconds: a feed that takes
    /// longer is in trouble, and a shorter limit would take a busy machine for one.
    pub fn feed_timeout(mut self, timeout: Duration) -> Self {
        self.feed.timeout = timeout;
        self
    }

    /// For how long a record is used while the feed is not known to work; 5 s by default, so that
    /// heartbeat, timeout and this add up to the ten seconds within which a change made elsewhere
    /// holds. Without a feed it is without effect.
    pub fn short_ttl(mut self, ttl: Duration) -> Self {
        self.feed.short_ttl = ttl;
        self
    }

    /// For how long behind its TTL a key that is cached may still pass while the store can't be
    /// read; 0, which is off, by default, and at most an hour. By then nobody has asked the store
    /// whether the key was revoked elsewhere, which is why it is off.
    ///
    /// It never passes its expiry or a revocation that is known here, is never used while the feed is
    /// down, and never by an authoritative decision or for a token that is unknown.
    pub fn stale_if_error(mut self, span: Duration) -> Self {
        self.cache.stale_if_error = span;
        self
    }
}
