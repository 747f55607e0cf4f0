//! What a thread may say of a key by itself, and when it has to be silent.

use std::{sync::mpsc, thread};

use chrono::{DateTime, TimeDelta};

use super::*;
use crate::{
    state::{
        cache::{CacheSettings, Known},
        store::MemoryStore,
    },
    value::{
        clock::{Clock, ManualClock},
        digest::{DigestAlgorithm, TokenDigest},
        key::{ApiKey, KeyId, Slide},
        meter::Meter,
        owner::Owner,
        subject::Subject,
    },
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A cache whose clock is set by hand, and a key that it may be told of.
struct Scene {
    cache: Cache,
    clock: ManualClock,
    token: &'static str,
    key: ApiKey,
}

fn settings() -> CacheSettings {
    CacheSettings {
        capacity: 4,
        absent_capacity: 4,
        fresh_ttl: 10 * SECOND,
        absent_ttl: 10 * SECOND,
        stale_if_error: Duration::ZERO,
        short_ttl: None,
        store_timeout: 2 * SECOND,
        max_in_flight: 2,
        reserved_in_flight: 1,
        max_waiting: 2,
    }
}

impl Scene {
    fn new() -> Self {
        Self::with(&settings(), |key| key)
    }

    fn with(settings: &CacheSettings, edit: impl FnOnce(ApiKey) -> ApiKey) -> Self {
        let clock = ManualClock::at(DateTime::UNIX_EPOCH + TimeDelta::hours(1));
        let store = Arc::new(MemoryStore::new());
        let cache = Cache::new(store, clock.clone().into(), settings, Meter::default());
        let token = "token";
        let digest = TokenDigest::of(DigestAlgorithm::Sha256, token);
        let key = ApiKey::new(KeyId::random(), digest, "ada".into(), DateTime::UNIX_EPOCH);
        Self { cache, clock, token, key: edit(key) }
    }

    /// A read that begins now finds the key, of which no use is to be recorded.
    fn reads(&self) -> Arc<Slot> {
        self.finds(Record::new(self.key.clone(), Owner::new("ada")))
    }

    fn finds(&self, record: Record) -> Arc<Slot> {
        let fence = &self.cache.fence;
        let (snap, now) = (fence.snap(), Clock::from(self.clock.clone()).monotonic());
        let slot = Slot::new(fence, *record.key().digest(), Some(record), snap, now);
        slot.due().store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
        self.cache.publish(slot)
    }

    /// One request: whether this thread admits it by itself; if not, it goes the shared way.
    fn meets(&self) -> bool {
        let sighting = match self.cache.sight(self.token.as_bytes()) {
            Sight::Known(record) => {
                assert_eq!(record.id(), self.key.id());
                return true;
            }
            Sight::Unknown(sighting) => sighting,
        };
        let now = self.cache.clock.read();
        let found = self.cache.lookup(self.key.digest(), &now, true);
        if let (Some(Known::Present { slot: Some(slot), .. }), Some(sighting)) = (found, sighting) {
            match sighting.is_wanted {
                true => self.cache.keep(&sighting, &slot, &now),
                false => Cache::note(&sighting),
            }
        }
        false
    }

    /// This thread knows the key from now on.
    fn is_met(&self) {
        for _ in 0..3 {
            self.meets();
        }
        assert!(self.meets(), "it knows the key");
    }
}

/// Rule 6. Seen to fail with a token that is noted although nobody admitted it.
#[test]
fn a_key_is_known_from_its_third_request_on() {
    let scene = Scene::new();
    (0..5).for_each(|_| assert!(!scene.meets(), "no such key"));
    scene.reads();
    let met = || (0..4).map(|_| scene.meets()).collect::<Vec<_>>();
    assert_eq!(met(), [false, false, true, true]);
    thread::scope(|scope| {
        let other = scope.spawn(met).join().unwrap();
        assert_eq!(other, [false, false, true, true], "another thread's own");
    });
}

/// Rule 2, for each way in which the fence moves. Seen to fail with the fence's time not compared.
#[test]
fn what_outdates_a_slot_silences_who_knows_it() {
    type Change = fn(&Scene);
    let of = |scene: &Scene| Subject::Key(scene.key.id());
    let changes: [(&str, bool, Change); 9] = [
        ("nothing", true, |_| {}),
        ("its key", false, |s| s.cache.revoke(&[Subject::Key(s.key.id())])),
        ("its owner", false, |s| s.cache.revoke(&[Subject::Owner("ada".into())])),
        ("its digest", false, |s| s.cache.revoke(&[Subject::Digest(*s.key.digest())])),
        ("a flush", false, |s| s.cache.flush()),
        ("a suspicion", false, |s| s.cache.suspect(&[Subject::Key(s.key.id())])),
        ("a loss of the feed", false, |s| s.cache.feed_lost()),
        ("another key", true, |s| s.cache.revoke(&[Subject::Key(KeyId::random())])),
        ("a read that finds another standing", false, |s| {
            let other = s.key.clone().with_active(false);
            s.finds(Record::new(other, Owner::new("ada")));
        }),
    ];
    for (what, stays, change) in changes {
        let scene = Scene::with(&CacheSettings { short_ttl: Some(SECOND), ..settings() }, |k| k);
        scene.cache.feed_found(Clock::from(scene.clock.clone()).monotonic().after(10 * SECOND));
        scene.reads();
        scene.clock.advance(2 * SECOND);
        scene.is_met();
        change(&scene);
        assert_eq!(scene.meets(), stays, "{what}");
        scene.cache.settled(&[of(&scene)]);
    }
}

/// Rule 3: what moves the fence for the sake of others leaves an entry its end, or brings it nearer; it never
/// moves it away. Seen to fail with an end that is worked out from the check on, and with one that stays.
#[test]
fn a_busy_fence_keeps_nobody_from_the_shared_way() {
    let scene = Scene::new();
    scene.reads();
    scene.is_met();
    for _ in 0..3 {
        scene.clock.advance(300 * MS);
        scene.cache.revoke(&[Subject::Key(KeyId::random())]);
        assert!(scene.meets());
    }
    scene.clock.advance(100 * MS);
    assert!(!scene.meets(), "a second is over");

    let settings = CacheSettings { short_ttl: Some(1_500 * MS), ..settings() };
    let scene = Scene::with(&settings, |key| key);
    scene.cache.feed_found(Clock::from(scene.clock.clone()).monotonic().after(10 * SECOND));
    scene.reads();
    scene.is_met();
    scene.cache.feed_lost();
    assert!(scene.meets());
    scene.clock.advance(500 * MS);
    assert!(!scene.meets(), "the short TTL is nearly over");
}

/// Rule 5, while a change is suspect. Seen to fail without the look at the suspects.
#[test]
fn nothing_suspect_is_learnt() {
    let scene = Scene::new();
    let slot = scene.reads();
    // Marked, and not stamped yet.
    scene.cache.suspects.mark(&[Subject::Key(scene.key.id())]);
    for _ in 0..3 {
        let Sight::Unknown(sighting) = scene.cache.sight(b"token") else { panic!("suspect") };
        let sighting = sighting.unwrap();
        Cache::note(&sighting);
        scene.cache.keep(&sighting, &slot, &scene.cache.clock.read());
    }
}

/// Rule 8: also of a slot that has taken the place of the one that the thread holds, and of one that leaves
/// while a thread is about to hold it.
///
/// Seen to fail, each at its line, with an eviction that ends nothing, with a note that a new slot does not
/// take over, and without the look whether the slot still stands there.
#[test]
fn a_slot_that_leaves_the_tables_leaves_every_thread() {
    for is_refreshed in [false, true] {
        let scene = Scene::with(&CacheSettings { capacity: 1, ..settings() }, |key| key);
        let slot = scene.reads();
        scene.is_met();
        if is_refreshed {
            scene.clock.advance(MS);
            scene.reads();
            assert!(scene.meets(), "by the slot that it knows");
        }
        let digest = TokenDigest::of(DigestAlgorithm::Sha256, "another");
        let other = ApiKey::new(KeyId::random(), digest, "eve".into(), DateTime::UNIX_EPOCH);
        scene.finds(Record::new(other, Owner::new("eve")));
        assert!(!scene.cache.present.knows(scene.key.digest()), "it was evicted");
        assert!(!scene.meets());
        let Sight::Unknown(sighting) = scene.cache.sight(b"token") else { panic!("it is gone") };
        scene.cache.keep(&sighting.unwrap(), &slot, &scene.cache.clock.read());
        let fresh = Arc::new(Slot::new(
            &scene.cache.fence,
            *scene.key.digest(),
            Some(Record::new(scene.key.clone(), Owner::new("ada"))),
            scene.cache.fence.snap(),
            scene.cache.clock.monotonic(),
        ));
        fresh.due().store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
        let Sight::Unknown(sighting) = scene.cache.sight(b"token") else { panic!("it is gone") };
        scene.cache.keep(&sighting.unwrap(), &fresh, &scene.cache.clock.read());
        assert!(!scene.meets(), "one that stands nowhere is not kept");
    }
}

/// Rule 3: what a thread does by itself ends with a second, with the refresh, and well before the life of
/// its slot. Seen to fail without each of the three in `validity_of`.
#[test]
fn an_entry_ends_with_whatever_needs_the_shared_way() {
    let scene = Scene::new();
    scene.reads();
    scene.is_met();
    scene.clock.advance(SECOND - MS);
    assert!(scene.meets());
    scene.clock.advance(MS);
    assert!(!scene.meets(), "once a second the shared table sees the use");
    assert!(scene.meets());
    let mut last = Duration::ZERO;
    for tenths in 11..=100_u32 {
        scene.clock.advance(100 * MS);
        if scene.meets() {
            last = tenths * 100 * MS;
        }
    }
    assert!(last > 7 * SECOND && last < 8 * SECOND, "{last:?}: a refresh is due at 8 s");

    // With nobody who refreshes, as long as somebody is said to.
    let scene = Scene::new();
    let slot = scene.reads();
    let far = Clock::from(scene.clock.clone()).monotonic().after(SECOND * 60);
    scene.clock.advance(9 * SECOND);
    let now = Clock::from(scene.clock.clone()).monotonic();
    assert!(slot.claim_refresh(now, far));
    (0..3).for_each(|_| assert!(!scene.meets(), "its life is nearly over"));
}

/// Rule 3, of the recorder. Seen to fail without `due_at` in `validity_of`.
#[test]
fn a_use_that_is_due_goes_the_shared_way() {
    let scene = Scene::new();
    let slot = scene.reads();
    let due = Clock::from(scene.clock.clone()).monotonic().after(500 * MS);
    slot.due().store(due.as_nanos(), std::sync::atomic::Ordering::Relaxed);
    scene.is_met();
    scene.clock.advance(499 * MS);
    assert!(scene.meets());
    scene.clock.advance(MS);
    (0..3).for_each(|_| assert!(!scene.meets(), "it is to be recorded"));
}

/// Rule 4. Seen to fail without the lag in `left_of`, and with the expiry left out of it.
#[test]
fn a_key_that_is_about_to_expire_is_judged_by_the_clock_itself() {
    let expires = DateTime::UNIX_EPOCH + TimeDelta::hours(1) + TimeDelta::milliseconds(1_500);
    let scene = Scene::with(&settings(), |key| key.with_expires_at(Some(expires)));
    scene.reads();
    scene.is_met();
    scene.clock.advance(499 * MS);
    assert!(scene.meets());
    scene.clock.advance(MS);
    (0..3).for_each(|_| assert!(!scene.meets()));
}

/// Rule 4, of expiries that uses move on. Seen to fail with the slide left out of `left_of`.
#[test]
fn a_use_that_may_move_the_expiry_on_goes_the_shared_way() {
    let begun = DateTime::UNIX_EPOCH + TimeDelta::hours(1);
    let mut scene =
        Scene::with(&settings(), |key| key.with_expires_at(Some(begun + TimeDelta::minutes(10))));
    let slide = Slide::new(TimeDelta::minutes(11), None, TimeDelta::seconds(30));
    scene.cache = scene.cache.sliding(Some(slide));
    let slot = scene.reads();
    (0..3).for_each(|_| assert!(!scene.meets(), "any use may"));
    slot.stay();
    scene.is_met();
}

/// Rule 4: a calendar that was set anew, either way, and a machine that slept. Seen to fail with an entry
/// that has no beginning, and without the calendar.
#[test]
fn a_calendar_that_jumps_ends_an_entry() {
    for step in [-1, 1_001, 3_600_000, -3_600_000] {
        let scene = Scene::new();
        scene.reads();
        scene.is_met();
        scene.clock.step_wall(TimeDelta::milliseconds(step));
        assert!(!scene.meets(), "{step} ms");
    }
}

/// Rule 4: a calendar that stands still, or is set back again and again. Seen to fail without the monotonic
/// clock.
#[test]
fn a_calendar_that_does_not_go_on_lengthens_nothing() {
    let scene = Scene::new();
    scene.reads();
    scene.is_met();
    scene.clock.advance(900 * MS);
    scene.clock.step_wall(TimeDelta::milliseconds(-800));
    assert!(scene.meets());
    scene.clock.advance(100 * MS);
    assert!(!scene.meets());
}

/// Caches have nothing of each other, whether they live at once or one after the other in one place.
/// Seen to fail with one key for all fingerprints and one number for all caches; one of them is enough.
#[test]
fn caches_do_not_mix() {
    let [one, mut other] = [Scene::new(), Scene::new()];
    one.reads();
    one.is_met();
    assert!(!other.meets() && !other.meets() && !other.meets(), "it knows no key");
    other.key = other.key.with_name("of the other");
    other.reads();
    other.is_met();
    one.cache.flush();
    assert!(!one.meets() && other.meets());
    for _ in 0..100 {
        let scene = Box::new(Scene::new());
        assert!(!scene.meets() && !scene.meets(), "it was never told of the key");
        scene.reads();
        scene.is_met();
    }
}

/// Rule 7: what the user attached to a record is dropped where it may come back here, and where the
/// thread's table is no more.
///
/// Seen to fail with `over` dropped inside the borrow: then what comes back finds no table.
#[test]
fn what_is_dropped_may_come_back() {
    /// Asks for a token when it is dropped, and tells whether its table could be had.
    struct Returns(Arc<Cache>, mpsc::Sender<bool>);

    impl Drop for Returns {
        fn drop(&mut self) {
            let Sight::Unknown(Some(sighting)) = self.0.sight(b"of the drop") else { return };
            Cache::note(&sighting);
            let Sight::Unknown(Some(again)) = self.0.sight(b"of the drop") else { return };
            let _nobody_listens = self.1.send(again.is_wanted);
        }
    }

    let scene = Scene::new();
    let other = Arc::new(Scene::new().cache);
    let (told, heard) = mpsc::channel();
    let attached = |told: &mpsc::Sender<bool>| {
        let returns = Returns(Arc::clone(&other), told.clone());
        Record::new(scene.key.clone(), Owner::new("ada")).with_data(returns)
    };
    scene.finds(attached(&told));
    scene.is_met();
    scene.clock.advance(SECOND);
    // The table of all threads gives it up first.
    scene.reads();
    assert!(heard.try_recv().is_err(), "this thread holds it");
    scene.meets();
    assert_eq!(heard.try_recv(), Ok(true), "behind the borrow");

    thread::scope(|scope| {
        let told = told.clone();
        let thread = scope.spawn(|| {
            scene.finds(attached(&told));
            scene.is_met();
            scene.clock.advance(SECOND);
            scene.reads();
            drop(told);
        });
        thread.join().unwrap();
    });
    assert_eq!(heard.recv(), Ok(false), "its thread's table was gone already");
}
