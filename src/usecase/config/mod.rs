//! How an authenticator is set up: every default with its reason, every nonsense refused.

mod check;

use std::{fmt, sync::Arc, time::Duration};

pub use self::check::ConfigError;
use super::{
    access::{Guard, LastUsed, Recorder},
    authenticator::Authenticator,
    events::Events,
    inner::Inner,
    maintenance::{Settler, Sweeper, Upkeep},
    manager::Issuing,
    revocation::{FeedSettings, Revocation},
    sliding::{self, Renewals, SlidingExpiry},
};
use crate::{
    state::{
        cache::{Cache, CacheSettings},
        store::{DynRepository, DynStore, KeyRepository, KeyStore},
    },
    value::{clock::Clock, format::TokenFormat, meter::Meter, owner::AccountId},
};

/// What the cache does unless it is told otherwise.
const DEFAULTS: CacheSettings = CacheSettings {
    // 40 MB at some 400 bytes each: more keys than most services have issued.
    capacity: 100_000,
    // Enough that a client with a wrong token costs one read in five seconds, small enough that a
    // flood of junk is bounded to about a megabyte.
    absent_capacity: 10_000,
    // One bound everywhere: without a revocation feed, a key revoked elsewhere passes for at most
    // this long.
    fresh_ttl: Duration::from_secs(10),
    // A key made elsewhere is refused for at most this long to a client that was too early.
    absent_ttl: Duration::from_secs(5),
    // Off: it would let a key pass of which nobody has asked since.
    stale_if_error: Duration::ZERO,
    // The feed brings its own.
    short_ttl: None,
    // A lookup by primary key takes milliseconds; what takes longer than this is a store in
    // trouble, and most clients have given up by five.
    store_timeout: Duration::from_secs(2),
    // More than any pool of connections that stores come with, so that the pool stays the limit.
    max_in_flight: 64,
    // Half: a flood of junk slows unknown keys down by half and known ones not at all.
    reserved_in_flight: 32,
    // As they wait, many share a query: sixteen full ones, some tens of milliseconds of a store's time.
    max_waiting: 4_096,
};

/// The longest grace of a rotation unless it is told otherwise; the setter says why.
const MAX_GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What an authenticator was set up with.
pub(super) struct Settings {
    pub(super) clock: Clock,
    pub(super) checksummed_prefixes: Box<[Box<str>]>,
    pub(super) token_format: TokenFormat,
    pub(super) issuing: Issuing,
    pub(super) max_grace: Duration,
    pub(super) platform: Option<AccountId>,
    /// How closely last uses are kept; `None` keeps none.
    pub(super) use_window: Option<Duration>,
    pub(super) events: Option<Arc<dyn Events>>,
}

/// Sets up an [`Authenticator`].
#[must_use = "a builder does nothing until `build`"]
pub struct AuthenticatorBuilder {
    store: Arc<dyn DynStore>,
    repository: Option<Arc<dyn DynRepository>>,
    clock: Clock,
    pub(super) token_format: TokenFormat,
    pub(super) checksummed_prefixes: Vec<Box<str>>,
    pub(super) issuing: Option<Issuing>,
    pub(super) max_grace: Duration,
    pub(super) platform: Option<AccountId>,
    pub(super) last_used: LastUsed,
    pub(super) events: Option<Arc<dyn Events>>,
    pub(super) cache: CacheSettings,
    pub(super) feed: FeedSettings,
    pub(super) sliding: Option<SlidingExpiry>,
    pub(super) sweep_every: Option<Duration>,
}

impl AuthenticatorBuilder {
    pub(super) fn managed(store: impl KeyRepository) -> Self {
        let store: Arc<dyn DynRepository> = Arc::new(store);
        Self::over(Arc::clone(&store) as Arc<dyn DynStore>, Some(store))
    }

    pub(super) fn read_only(store: impl KeyStore) -> Self {
        Self::over(Arc::new(store), None)
    }

    fn over(store: Arc<dyn DynStore>, repository: Option<Arc<dyn DynRepository>>) -> Self {
        Self {
            store,
            repository,
            clock: Clock::system(),
            token_format: TokenFormat::default(),
            checksummed_prefixes: Vec::new(),
            issuing: None,
            max_grace: MAX_GRACE,
            platform: None,
            last_used: LastUsed::default(),
            events: None,
            cache: DEFAULTS,
            feed: FeedSettings::default(),
            sliding: None,
            sweep_every: None,
        }
    }

    /// How many keys the cache holds; 100,000 by default, about 40 MB when it is full. Past that,
    /// keys that were not used lately are read again when they return. Besides, each thread that serves
    /// may hold on to 4,096 records of keys that it met, and all threads of the process to 65,536.
    pub fn capacity(mut self, keys: usize) -> Self {
        self.cache.capacity = keys;
        self
    }

    /// How many tokens the cache remembers as unknown, apart from the keys; 10,000 by default,
    /// about a megabyte. Junk can never evict a key.
    pub fn negative_capacity(mut self, tokens: usize) -> Self {
        self.cache.absent_capacity = tokens;
        self
    }

    /// For how long a record is used after it was read; 10 s by default. It is what bounds a
    /// revocation that was made elsewhere, where no feed tells of it; this authenticator's own
    /// revocations hold at once. A key in use is read anew in the background after four fifths of
    /// it, so that its requests never wait. With 1 s or less every request is hashed and looked up in the
    /// cache that all threads share; otherwise a thread knows the keys that it meets often by itself.
    pub fn fresh_ttl(mut self, ttl: Duration) -> Self {
        self.cache.fresh_ttl = ttl;
        self
    }

    /// For how long a token is taken for unknown after a read found none; 5 s by default. A key
    /// created here is known at once, one created elsewhere after this long at most.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.cache.absent_ttl = ttl;
        self
    }

    /// How long a request waits for the store, its turn included; 2 s by default. Then it is
    /// answered 503.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.cache.store_timeout = timeout;
        self
    }

    /// How many reads of the store may be under way; 64 by default, at least 2. Half of them serve
    /// only keys that the cache knows, so that a flood of unknown tokens can't starve those.
    pub fn max_in_flight(mut self, reads: usize) -> Self {
        self.cache.max_in_flight = reads;
        self.cache.reserved_in_flight = reads / 2;
        self
    }

    /// How many reads may wait for their turn; 4,096 by default, shared out as the turns are.
    /// Requests for one token share a read and count once. One more is answered 503 at once.
    pub fn max_waiting(mut self, reads: usize) -> Self {
        self.cache.max_waiting = reads;
        self
    }

    /// Where to read the time, for tests (`test-util`).
    #[cfg(any(test, feature = "test-util"))]
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Builds the authenticator, and the guard whose `shutdown` drains its recorder. It may be built
    /// outside a runtime: only a feed is taken up at once where there is one.
    ///
    /// # Errors
    /// When a setting makes no sense; the message says which and what to do.
    pub fn build(mut self) -> Result<(Authenticator, Guard), ConfigError> {
        check::cache(&self.cache)?;
        let feed = self.feed.checked(&mut self.cache)?;
        let slide = self.sliding.map(SlidingExpiry::checked).transpose()?;
        let sweeper = Sweeper::new(self.sweep_every)?;
        check::management(self.max_grace, self.platform.as_ref())?;
        let mut prefixes = self.checksummed_prefixes;
        prefixes.extend(self.token_format.checksummed_prefix().map(Into::into));
        // A schema without a place for it needs no warning at the first request.
        let keeps = self.repository.as_ref().is_none_or(|store| store.capabilities().last_use);
        let window = self.last_used.window()?.filter(|_| keeps);
        let is_for_any =
            self.repository.as_ref().is_some_and(|store| store.capabilities().any_owner);
        let by_schema = if is_for_any { Issuing::AnyActiveOwner } else { Issuing::default() };
        let issuing = self.issuing.unwrap_or(by_schema);
        let recorder = Recorder::new(Arc::clone(&self.store), self.clock.clone(), window);
        let settings = Settings {
            clock: self.clock,
            checksummed_prefixes: prefixes.into(),
            token_format: self.token_format,
            issuing,
            max_grace: self.max_grace,
            platform: self.platform,
            use_window: window,
            events: self.events,
        };
        let (store, clock, meter) =
            (Arc::clone(&self.store), settings.clock.clone(), Meter::default());
        // Where nothing can be written, nothing is renewed.
        let slide = slide.filter(|_| sliding::is_possible(self.repository.is_some()));
        let cache = Cache::new(store, clock, &self.cache, meter.clone()).sliding(slide);
        let cache = Arc::new(cache);
        let settler = Arc::new(Settler::new(Arc::clone(&cache), self.repository.clone()));
        let repository = self.repository.clone();
        let renewals = slide.zip(repository).map(|(slide, repository)| {
            Renewals::new(repository, &cache, &settler, &settings.clock, slide)
        });
        let renewals = renewals.unwrap_or_default();
        let guard = recorder.guard().settling(Arc::clone(&settler)).renewing(renewals.clone());
        let revocation = Revocation::new(feed, &cache, &settings.clock, &meter);
        revocation.rouse();
        let inner = Inner {
            cache,
            store: self.store,
            repository: self.repository,
            settings,
            recorder,
            revocation,
            settler,
            meter,
            upkeep: Upkeep::default(),
            renewals,
            sweeper,
        };
        Ok((Authenticator::from_inner(inner), guard))
    }
}

impl fmt::Debug for AuthenticatorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatorBuilder").finish_non_exhaustive()
    }
}
