//! No authentication that begins after a revocation returned is answered from before it.
//!
//! How they were seen to fail, each under loom and under shuttle, with one mechanism removed:
//! every test with slots used unchecked (`Cache::usable` without `is_current`); the tests of first
//! fills with the snap taken after the read (`Lead::read`); leader and follower with a waiter that
//! does not check what it is given (`Cache::fetch`); the flush with no stamp of its own; the
//! deletion made elsewhere without `supersede`; the two of the feed with the lease read behind the
//! stamps (`Cache::usable`), and its recovery with the lease extended before the flush. Boarding whatever the stamps say goes unseen here,
//! as reads without a runtime end before anybody could board: `tests/it/flight.rs` sees that.

#![cfg(any(token_auth_loom, token_auth_shuttle))]

use std::sync::Arc;

use token_auth_models::{AtomicBool, Mutex, Ordering, block_on, explore, spawn};
use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, KeyId, Owner, Record, RejectionKind, Subject,
    TokenDigest,
    store::{KeyStore, KeyUse, RevocationChannel, StoreError},
    testing::ManualClock,
};

const TOKEN: &str = "token";
const HOUR: std::time::Duration = std::time::Duration::from_secs(3_600);

/// The one row that the models' store holds.
#[derive(Clone, Copy)]
struct Row {
    present: bool,
    key_active: bool,
    owner_active: bool,
}

const GOOD: Row = Row { present: true, key_active: true, owner_active: true };
const ABSENT: Row = Row { present: false, ..GOOD };

#[derive(Clone)]
struct Store(Arc<Mutex<Row>>);

impl KeyStore for Store {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        DigestAlgorithm::Sha256
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        let row = *self.0.lock().unwrap();
        let key = ApiKey::new(key_id(), digest, "ada".into(), chrono::DateTime::UNIX_EPOCH);
        let owner = Owner::new("ada").with_active(row.owner_active);
        Ok(row.present.then(|| Record::new(key.with_active(row.key_active), owner)))
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        let mut found = Vec::new();
        for digest in digests {
            found.extend(self.find(*digest).await?);
        }
        Ok(found)
    }

    async fn record_uses(&self, _: &[KeyUse]) -> Result<u64, StoreError> {
        Ok(0)
    }
}

fn key_id() -> KeyId {
    "00000000-0000-4000-8000-000000000001".parse().unwrap()
}

fn digest() -> Subject {
    Subject::Digest(TokenDigest::of(DigestAlgorithm::Sha256, TOKEN))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Admitted,
    Refused,
    Unavailable,
}

struct World {
    auth: Authenticator,
    row: Arc<Mutex<Row>>,
    /// Set after the change under test has returned.
    returned: AtomicBool,
}

impl World {
    fn new(row: Row) -> Arc<Self> {
        let row = Arc::new(Mutex::new(row));
        let builder = Authenticator::read_only(Store(Arc::clone(&row)));
        let (auth, _guard) = builder.capacity(1).negative_capacity(1).build().unwrap();
        Arc::new(Self { auth, row, returned: AtomicBool::new(false) })
    }

    /// Warm, with a feed that is down for so long that nothing cached counts any more; and then a
    /// change that nobody told of.
    fn past_the_short_ttl() -> Arc<Self> {
        let row = Arc::new(Mutex::new(GOOD));
        let (channel, clock) =
            (RevocationChannel::new(1), ManualClock::at(chrono::DateTime::UNIX_EPOCH));
        let builder = Authenticator::read_only(Store(Arc::clone(&row))).feed(channel.feed());
        let builder = builder.fresh_ttl(HOUR).clock(clock.clone());
        let (auth, _guard) = builder.capacity(1).negative_capacity(1).build().unwrap();
        let world = Arc::new(Self { auth, row, returned: AtomicBool::new(false) });
        assert_eq!(world.answer(), Answer::Admitted);
        clock.advance(std::time::Duration::from_secs(5));
        world.row.lock().unwrap().key_active = false;
        world
    }

    fn warm(row: Row) -> Arc<Self> {
        let world = Self::new(row);
        assert_ne!(world.answer(), Answer::Unavailable);
        world
    }

    fn answer(&self) -> Answer {
        match block_on(self.auth.authenticate(TOKEN)) {
            Ok(_) => Answer::Admitted,
            // A thread that sees a stamp and not yet the clock that was stored after it may run out
            // of retries.
            Err(rejection) if rejection.kind().is_unavailable() => Answer::Unavailable,
            Err(_) => Answer::Refused,
        }
    }

    /// Commits, invalidates, returns.
    fn change(&self, subject: &Subject, edit: impl FnOnce(&mut Row)) {
        edit(&mut self.row.lock().unwrap());
        self.auth.revoke(subject);
    }

    fn has_returned(&self) {
        self.returned.store(true, Ordering::Release);
    }
}

/// Authenticates `times` times; once the change has returned, the answer is `then`.
fn reader(world: &Arc<World>, times: usize, then: Answer) -> impl FnOnce() + Send + 'static {
    let world = Arc::clone(world);
    move || {
        for _ in 0..times {
            let after = world.returned.load(Ordering::Acquire);
            let answer = world.answer();
            assert!(!after || answer == then, "{answer:?} after the change had returned");
        }
    }
}

/// Authenticates once, in vain whatever else happens.
fn never_admitted(world: &Arc<World>) -> impl FnOnce() + Send + 'static {
    let world = Arc::clone(world);
    move || assert_ne!(world.answer(), Answer::Admitted, "by what was cached before the change")
}

/// I1, I2: a cold fill, and what it published, against the key's revocation.
#[test]
fn a_key_revoked_during_its_first_fill() {
    explore(3, || {
        let world = World::new(GOOD);
        let reader = spawn(reader(&world, 2, Answer::Refused));
        world.change(&Subject::Key(key_id()), |row| row.key_active = false);
        world.has_returned();
        reader.join().unwrap();
    });
}

/// I1: a warm table and two readers.
#[test]
fn a_cached_key_revoked_under_two_readers() {
    explore(2, || {
        let world = World::warm(GOOD);
        let readers =
            [spawn(reader(&world, 1, Answer::Refused)), spawn(reader(&world, 1, Answer::Refused))];
        world.change(&Subject::Key(key_id()), |row| row.key_active = false);
        world.has_returned();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// I2: the owner is not known when a follower joins, so that it must judge the result itself.
#[test]
fn an_owner_deactivated_under_leader_and_follower() {
    explore(2, || {
        let world = World::new(GOOD);
        let readers =
            [spawn(reader(&world, 1, Answer::Refused)), spawn(reader(&world, 1, Answer::Refused))];
        world.change(&Subject::Owner("ada".into()), |row| row.owner_active = false);
        world.has_returned();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// I9, I10: a negative read under way must not answer who comes after the key was made.
#[test]
fn a_key_created_during_a_negative_fill() {
    explore(2, || {
        let world = World::new(ABSENT);
        let readers = [
            spawn(reader(&world, 1, Answer::Admitted)),
            spawn(reader(&world, 1, Answer::Admitted)),
        ];
        world.change(&digest(), |row| *row = GOOD);
        world.has_returned();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// Delete, then create the same digest: neither answer outlives its change.
#[test]
fn a_key_deleted_and_created_again() {
    explore(2, || {
        let world = World::warm(GOOD);
        let reader = spawn(reader(&world, 2, Answer::Admitted));
        world.change(&Subject::Key(key_id()), |row| *row = ABSENT);
        assert_eq!(world.answer(), Answer::Refused, "a deleted key was admitted");
        world.change(&digest(), |row| *row = GOOD);
        world.has_returned();
        reader.join().unwrap();
    });
}

/// A flush against a fill under way and a cached slot.
#[test]
fn a_flush_outdates_what_is_cached_and_what_is_under_way() {
    explore(2, || {
        let world = World::new(GOOD);
        let readers =
            [spawn(reader(&world, 1, Answer::Refused)), spawn(reader(&world, 1, Answer::Refused))];
        world.row.lock().unwrap().key_active = false;
        world.auth.flush();
        world.has_returned();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// Rule 10: a read that finds a change made elsewhere revokes what stood before, so that no other
/// thread goes on with it, in whichever table it stands.
#[test]
fn a_read_finds_a_deletion_made_elsewhere() {
    explore(2, || {
        let world = World::warm(GOOD);
        *world.row.lock().unwrap() = ABSENT;
        let reader = spawn(reader(&world, 2, Answer::Refused));
        let answer = block_on(world.auth.authenticate_authoritative(TOKEN));
        assert_eq!(answer.unwrap_err().kind(), RejectionKind::Unknown);
        world.has_returned();
        reader.join().unwrap();
    });
}

/// Rule 10 against a local revocation: the older read must not come back with a newer snap.
#[test]
fn a_refresh_under_way_does_not_bring_a_revoked_key_back() {
    explore(2, || {
        let world = World::warm(GOOD);
        let refresher = {
            let world = Arc::clone(&world);
            spawn(move || drop(block_on(world.auth.authenticate_authoritative(TOKEN))))
        };
        world.change(&Subject::Key(key_id()), |row| row.key_active = false);
        assert_eq!(world.answer(), Answer::Refused, "a refresh published a revoked key");
        refresher.join().unwrap();
        assert_eq!(world.answer(), Answer::Refused, "a refresh published a revoked key");
    });
}

/// I5: a feed that listens again vouches for what is cached from then on, and never for what was
/// cached before.
#[test]
fn a_feed_that_listens_again_vouches_for_nothing_from_before() {
    explore(3, || {
        let world = World::past_the_short_ttl();
        let reader = spawn(never_admitted(&world));
        world.auth.feed_found(HOUR);
        reader.join().unwrap();
    });
}

/// I4: a probe that came back proves that what was told before it counts: who sees the longer lease
/// sees the word.
#[test]
fn a_longer_lease_is_never_seen_without_the_word_before_it() {
    explore(3, || {
        let world = World::past_the_short_ttl();
        let reader = spawn(never_admitted(&world));
        world.auth.revoke(&Subject::Key(key_id()));
        world.auth.feed_answered(HOUR);
        reader.join().unwrap();
    });
}
