//! One key in a store of one row, and who asks about it.

use std::{sync::Arc, time::Duration};

use tower_token_auth::{
    ApiKey, Authenticator, DigestAlgorithm, KeyId, Owner, Record, Subject, TokenDigest,
    store::{KeyStore, KeyUse, RevocationChannel, StoreError},
    testing::ManualClock,
};

use crate::{AtomicBool, Mutex, Ordering, block_on};

pub const TOKEN: &str = "token";
pub const HOUR: Duration = Duration::from_secs(3_600);

/// The one row that the models' store holds.
#[derive(Clone, Copy)]
pub struct Row {
    pub present: bool,
    pub key_active: bool,
    pub owner_active: bool,
}

pub const GOOD: Row = Row { present: true, key_active: true, owner_active: true };
pub const ABSENT: Row = Row { present: false, ..GOOD };

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

pub fn key_id() -> KeyId {
    "00000000-0000-4000-8000-000000000001".parse().unwrap()
}

pub fn digest() -> Subject {
    Subject::Digest(TokenDigest::of(DigestAlgorithm::Sha256, TOKEN))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Admitted,
    Refused,
    Unavailable,
}

pub struct World {
    pub auth: Authenticator,
    pub row: Arc<Mutex<Row>>,
    /// Set after the change under test has returned.
    pub returned: AtomicBool,
}

impl World {
    pub fn new(row: Row) -> Arc<Self> {
        Self::with_room(row, 1)
    }

    /// With as many places for keys, and for tokens that are none.
    pub fn with_room(row: Row, places: usize) -> Arc<Self> {
        let row = Arc::new(Mutex::new(row));
        let builder = Authenticator::read_only(Store(Arc::clone(&row)));
        let builder = builder.capacity(places).negative_capacity(places);
        let (auth, _guard) = builder.build().unwrap();
        Arc::new(Self { auth, row, returned: AtomicBool::new(false) })
    }

    /// Warm, with a feed that is down for so long that nothing cached counts any more; and then a
    /// change that nobody told of.
    pub fn past_the_short_ttl() -> Arc<Self> {
        let row = Arc::new(Mutex::new(GOOD));
        let (channel, clock) =
            (RevocationChannel::new(1), ManualClock::at(chrono::DateTime::UNIX_EPOCH));
        let builder = Authenticator::read_only(Store(Arc::clone(&row))).feed(channel.feed());
        let builder = builder.fresh_ttl(HOUR).clock(clock.clone());
        let (auth, _guard) = builder.capacity(1).negative_capacity(1).build().unwrap();
        let world = Arc::new(Self { auth, row, returned: AtomicBool::new(false) });
        assert_eq!(world.answer(), Answer::Admitted);
        clock.advance(Duration::from_secs(5));
        world.row.lock().unwrap().key_active = false;
        world
    }

    pub fn warm(row: Row) -> Arc<Self> {
        let world = Self::new(row);
        assert_ne!(world.answer(), Answer::Unavailable);
        world
    }

    /// Warm, and the calling thread knows the key by itself.
    pub fn known(row: Row) -> Arc<Self> {
        let world = Self::warm(row);
        while !world.auth.knows(TOKEN) {
            assert_eq!(world.answer(), Answer::Admitted);
        }
        world
    }

    pub fn answer(&self) -> Answer {
        match block_on(self.auth.authenticate(TOKEN)) {
            Ok(_) => Answer::Admitted,
            // A thread that sees a stamp and not yet the clock that was stored after it may run out
            // of retries.
            Err(rejection) if rejection.kind().is_unavailable() => Answer::Unavailable,
            Err(_) => Answer::Refused,
        }
    }

    /// Commits, invalidates, returns.
    pub fn change(&self, subject: &Subject, edit: impl FnOnce(&mut Row)) {
        edit(&mut self.row.lock().unwrap());
        self.auth.revoke(subject);
    }

    pub fn has_returned(&self) {
        self.returned.store(true, Ordering::Release);
    }
}

/// Authenticates `times` times; once the change has returned, the answer is `then`.
pub fn reader(world: &Arc<World>, times: usize, then: Answer) -> impl FnOnce() + Send + 'static {
    let world = Arc::clone(world);
    move || {
        for _ in 0..times {
            let after = world.returned.load(Ordering::Acquire);
            let answer = world.answer();
            assert!(!after || answer == then, "{answer:?} after the change had returned");
        }
    }
}
