//! One transaction: it writes the renewals whose rows are as they were read, and finds out about the others.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{runtime::Handle, time};

use super::{book::Renewal, writer::Writer};
use crate::{
    state::store::{Family, KeyWrite},
    usecase::maintenance::Failure,
    value::{key::KeyId, subject::Subject},
};

/// How long one transaction may take; it is tried again then, on the rows as they stand.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a transaction found of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// As it was read: it is written.
    AsRead,
    /// As it was to be written, by a try whose answer was lost.
    Stored,
    /// Neither, or not in use any more.
    Overtaken,
    /// As it was read, and replaced by another key: it lives on for a grace, and no longer.
    Replaced,
}

impl Writer {
    pub(super) async fn attempt(self: &Arc<Self>, batch: &[Renewal]) -> Result<(), Failure> {
        let (this, batch) = (Arc::clone(self), batch.to_vec());
        // A task of its own, so that a panic of the store is a failure like any other.
        let attempt = Handle::current().spawn(async move { this.write(&batch).await });
        attempt.await.unwrap_or(Err(Failure::Panic))
    }

    /// Writes in one transaction those whose rows are as they were read.
    async fn write(&self, batch: &[Renewal]) -> Result<(), Failure> {
        let ids: Vec<KeyId> = batch.iter().map(|renewal| renewal.key).collect();
        // By key, as a store may run its transaction again: the last time counts.
        let mut findings = HashMap::new();
        let mut plan = |family: &Family| {
            let key = family.key.key();
            let renewal = batch.iter().find(|renewal| renewal.key == key.id());
            let finding = renewal.map_or(Finding::Overtaken, |r| self.look(r, family));
            findings.insert(key.id(), finding);
            let write = renewal.filter(|_| finding == Finding::AsRead);
            let write = write.map(|r| KeyWrite::Update(key.clone().with_expires_at(Some(r.to))));
            Some(write.into_iter().collect())
        };
        let change = self.repository.change(&ids, None, &mut plan);
        match time::timeout(TRY_TIMEOUT, change).await {
            Ok(Ok(_)) => {}
            // None of them is there any more.
            Ok(Err(error)) if error.is_not_found() => findings.clear(),
            Ok(Err(error)) => return Err(Failure::Store(error)),
            Err(_) => return Err(Failure::TooSlow),
        }
        for renewal in batch {
            match findings.get(&renewal.key) {
                Some(finding @ (Finding::AsRead | Finding::Stored)) => {
                    let is_new = u64::from(*finding == Finding::AsRead);
                    self.counters.written.fetch_add(is_new, Ordering::Relaxed);
                    self.stored(renewal);
                }
                finding => self.overtaken(renewal, finding == Some(&Finding::Replaced)),
            }
        }
        Ok(())
    }

    /// The one judgement of whether a renewal may be written, on the rows as the transaction has them.
    fn look(&self, renewal: &Renewal, family: &Family) -> Finding {
        let key = family.key.key();
        if *key.digest() != renewal.digest {
            return Finding::Overtaken;
        }
        // First: what is cached of a key that has the expiry, and was ended since, is not to stand.
        if !(key.is_active() && family.key.owner().is_active()) {
            return Finding::Overtaken;
        }
        // What was lost about it may have been its end. Whom it lets in may be somebody else than whose
        // key it is.
        let owners = [key.owner_id(), family.key.owner().id()].map(|id| Subject::Owner(id.clone()));
        let [holder, user] = owners;
        if self.settler.is_unsettled(&[Subject::Key(key.id()), holder, user]) {
            return Finding::Overtaken;
        }
        match key.expires_at() {
            Some(at) if at == renewal.to => Finding::Stored,
            Some(at) if at != renewal.from => Finding::Overtaken,
            Some(_) if family.successor.is_some() => Finding::Replaced,
            Some(_) => Finding::AsRead,
            None => Finding::Overtaken,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::{
        state::{
            cache::{Cache, CacheSettings},
            store::MemoryStore,
        },
        usecase::maintenance::{Repair, Settler},
        value::{
            clock::{Clock, Monotonic},
            digest::{DigestAlgorithm, TokenDigest},
            key::{ApiKey, Record, Slide},
            meter::Meter,
            owner::Owner,
        },
    };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn writer() -> Writer {
        let settings = CacheSettings {
            capacity: 4,
            absent_capacity: 4,
            fresh_ttl: Duration::from_secs(10),
            absent_ttl: Duration::from_secs(10),
            stale_if_error: Duration::ZERO,
            short_ttl: None,
            store_timeout: Duration::from_secs(2),
            max_in_flight: 2,
            reserved_in_flight: 1,
            max_waiting: 2,
        };
        let (store, clock) = (Arc::new(MemoryStore::new()), Clock::system());
        let cache = Cache::new(store.clone(), clock.clone(), &settings, Meter::default());
        let cache = Arc::new(cache);
        let settler = Arc::new(Settler::new(Arc::clone(&cache), Some(store.clone())));
        let slide = Slide::new(TimeDelta::hours(10), None, TimeDelta::seconds(60));
        Writer::new(store, cache, settler, clock, slide)
    }

    /// Seen to fail, each for its row, without any one of the looks in `look`.
    #[test]
    fn only_a_key_as_it_was_read_and_in_use_is_written() {
        let digest = |token| TokenDigest::of(DigestAlgorithm::Sha256, token);
        let key = |token| ApiKey::new(KeyId::random(), digest(token), "ada".into(), at(0));
        let read = key("token").with_expires_at(Some(at(10)));
        let since = Monotonic::from_nanos(0);
        let (id, digest) = (read.id(), *read.digest());
        let renewal = Renewal { key: id, digest, from: at(10), to: at(100), since };
        let family = |key: ApiKey| Family::of(Record::new(key, Owner::new("ada")));
        let row = |expires_at| family(read.clone().with_expires_at(expires_at));
        let deactivated = Owner::new("ada").with_active(false);
        let off = |key: ApiKey| Family::of(Record::new(key, deactivated.clone()));
        let written = read.clone().with_expires_at(Some(at(100)));
        let ended = written.clone();
        let another = ApiKey::new(id, *key("other").digest(), "ada".into(), at(0));
        let cases = [
            ("as it was read", row(Some(at(10))), Finding::AsRead),
            ("as it was to be", row(Some(at(100))), Finding::Stored),
            ("ended", row(Some(at(9))), Finding::Overtaken),
            ("renewed elsewhere", row(Some(at(99))), Finding::Overtaken),
            ("without an expiry", row(None), Finding::Overtaken),
            ("switched off", family(read.clone().with_active(false)), Finding::Overtaken),
            ("its owner's", off(read.clone()), Finding::Overtaken),
            ("as it was to be, ended since", family(ended.with_active(false)), Finding::Overtaken),
            ("the same by its owner", off(written), Finding::Overtaken),
            ("another token's", family(another.with_expires_at(Some(at(10)))), Finding::Overtaken),
            ("replaced", row(Some(at(10))).with_successor(Some(key("new"))), Finding::Replaced),
        ];
        let writer = writer();
        for (name, family, expected) in &cases {
            assert_eq!(writer.look(&renewal, family), *expected, "{name}");
        }
        // A change of it was lost, and may have been its end.
        let places = writer.settler.places(1).unwrap();
        let lost = vec![Subject::Key(read.id())];
        Settler::lost(&writer.settler, lost, Repair::Keys(Vec::new()), places);
        assert_eq!(writer.look(&renewal, &cases[0].1), Finding::Overtaken);
        // Or of one of its two owners, where they are two.
        let of_two = Family::of(Record::new(read.clone(), Owner::new("bob")));
        for (owner, expected) in
            [("carol", Finding::AsRead), ("ada", Finding::Overtaken), ("bob", Finding::Overtaken)]
        {
            let writer = self::writer();
            let places = writer.settler.places(1).unwrap();
            let lost = vec![Subject::Owner(owner.into())];
            Settler::lost(&writer.settler, lost, Repair::Keys(Vec::new()), places);
            assert_eq!(writer.look(&renewal, &of_two), expected, "{owner}");
        }
    }
}
