//! The way to a decision: what this thread knows, what the cache knows, and what the store says.

use std::sync::Arc;

use super::{Authenticator, Freshness};
use crate::{
    state::cache::{Cache, Demand, Known, ReadError, Sight, Sighting, Slot},
    usecase::{
        authenticated::AuthenticatedKey,
        events::Event,
        inner::Inner,
        maintenance::{Sweeper, Upkeep},
        rejection::{Rejection, RejectionKind},
    },
    value::{
        clock::Reading,
        digest::TokenDigest,
        key::Record,
        meter::{Count, Timer},
    },
};

impl Authenticator {
    /// The decision about a token that this thread can't admit by itself.
    pub(super) async fn decide(
        &self,
        digest: Result<TokenDigest, Rejection>,
        freshness: Freshness,
        sighting: Option<Sighting>,
    ) -> Result<AuthenticatedKey, Rejection> {
        let digest = digest?;
        self.tell(Event::Requested);
        let may_be_cached = freshness == Freshness::Cached;
        match may_be_cached.then(|| self.cached(&digest, sighting)).flatten() {
            Some(decision) => decision,
            None => self.resolve(digest, freshness).await,
        }
    }

    /// The admission of a token that this thread knows, told already; otherwise what was seen, for the
    /// [`cached`](Self::cached) decision: so that a token that is admitted twice is known from then on.
    #[inline]
    pub(crate) fn admit_known(&self, token: &[u8]) -> Result<AuthenticatedKey, Option<Sighting>> {
        match self.inner.cache.sight(token) {
            Sight::Known(record) => {
                let key = AuthenticatedKey::new(record);
                self.tell_known(&key);
                Ok(key)
            }
            Sight::Unknown(sighting) => Err(sighting),
        }
    }

    /// The decision, if the cache can make it: no await, no box, no store.
    pub(crate) fn cached(
        &self,
        digest: &TokenDigest,
        sighting: Option<Sighting>,
    ) -> Option<Result<AuthenticatedKey, Rejection>> {
        let now = self.inner.settings.clock.read();
        let wants_slot = sighting.is_some_and(|sighting| sighting.is_wanted);
        let known = self.inner.cache.lookup(digest, &now, wants_slot);
        self.inner.meter.count(match &known {
            Some(Known::Present { .. }) => Count::Hit,
            Some(Known::Absent) => Count::Negative,
            Some(Known::Suspect) => Count::Hit,
            None => Count::Miss,
        });
        match known? {
            Known::Absent => Some(Err(Rejection::new(RejectionKind::Unknown))),
            Known::Suspect => Some(Err(self.inner.refusal_of(ReadError::Suspect))),
            Known::Present { record, slot, has_chores } => {
                let decision = match &slot {
                    Some(slot) if has_chores => self.do_chores(&record, slot, &now),
                    _ => Inner::judge(&record, &now),
                };
                match (&decision, sighting, slot) {
                    (Ok(_), Some(sighting), Some(slot)) if sighting.is_wanted => {
                        self.inner.cache.keep(&sighting, &slot, &now);
                    }
                    (Ok(_), Some(sighting), _) => Cache::note(&sighting),
                    _ => {}
                }
                Some(decision)
            }
        }
    }

    /// The decision by a slot of which there is something to be done.
    #[cold]
    fn do_chores(
        &self,
        record: &Arc<Record>,
        slot: &Arc<Slot>,
        now: &Reading,
    ) -> Result<AuthenticatedKey, Rejection> {
        Upkeep::rouse(&self.inner);
        Sweeper::rouse(&self.inner);
        self.inner.revocation.rouse();
        self.inner.cache.refresh(slot, now.monotonic);
        let renewed = self.inner.renewals.judged_by(slot, record, now, false);
        let decision = Inner::judge(renewed.as_ref().unwrap_or(record), now);
        if decision.is_ok() {
            self.inner.recorder.seen(record, slot.due(), now.monotonic);
        }
        decision
    }

    /// The decision, through the store if need be.
    pub(crate) fn resolve(
        &self,
        digest: TokenDigest,
        freshness: Freshness,
    ) -> impl Future<Output = Result<AuthenticatedKey, Rejection>> + Send + 'static {
        let inner = Arc::clone(&self.inner);
        Upkeep::rouse(&inner);
        Sweeper::rouse(&inner);
        async move {
            let _timer = Timer::of_a_miss(&inner.settings.clock);
            inner.revocation.rouse();
            let demand = match freshness {
                Freshness::Cached => Demand::Current,
                Freshness::Authoritative => {
                    let now = inner.settings.clock.read();
                    if let Some(Known::Absent) = inner.cache.lookup(&digest, &now, false) {
                        inner.meter.count(Count::Negative);
                        return Err(Rejection::new(RejectionKind::Unknown));
                    }
                    Demand::Own
                }
            };
            let read = inner.cache.fetch(digest, demand).await;
            let slot = read.map_err(|error| inner.refusal_of(error))?;
            let record = slot.record().ok_or_else(|| Rejection::new(RejectionKind::Unknown))?;
            let now = inner.settings.clock.read();
            let rests_on_store = demand == Demand::Own;
            let renewed = inner.renewals.judged_by(&slot, record, &now, rests_on_store);
            let key = Inner::judge(renewed.as_ref().unwrap_or(record), &now)?;
            inner.recorder.seen(record, slot.due(), now.monotonic);
            Ok(key)
        }
    }
}
