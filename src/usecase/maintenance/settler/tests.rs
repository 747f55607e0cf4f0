//! What is lost is made good: by whom, in which order, and when nobody is there to do it.

use std::{sync::mpsc, thread, time::Duration};

use chrono::DateTime;
use futures_util::{FutureExt as _, future::join};
use tokio::{runtime, task, time};

use super::*;
use crate::{
    state::cache::{CacheSettings, Demand, ReadError},
    usecase::maintenance::{
        Change, Goal,
        desk::{Desk, Mood},
    },
    value::{
        clock::Clock,
        digest::TokenDigest,
        key::{ApiKey, KeyId},
        meter::Meter,
        owner::Owner,
    },
};

const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A test that waits for longer has failed: a try may take ten seconds, and so may two pauses.
const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    desk: Desk,
    cache: Arc<Cache>,
    settler: Arc<Settler>,
}

impl Bench {
    fn new() -> Self {
        let desk = Desk::new();
        let settings = CacheSettings {
            capacity: 64,
            absent_capacity: 64,
            fresh_ttl: Duration::from_secs(10),
            absent_ttl: Duration::from_secs(10),
            short_ttl: None,
            stale_if_error: Duration::ZERO,
            store_timeout: Duration::from_secs(10),
            max_in_flight: 8,
            reserved_in_flight: 4,
            max_waiting: 8,
        };
        let store = Arc::new(desk.clone());
        let cache = Cache::new(store, Clock::system(), &settings, Meter::default());
        let cache = Arc::new(cache);
        let settler = Settler::new(Arc::clone(&cache), Some(Arc::new(desk.clone())));
        Self { desk, cache, settler: Arc::new(settler) }
    }

    /// An active key.
    async fn key(&self) -> ApiKey {
        let id = KeyId::random();
        let digest = TokenDigest::of(Default::default(), &id.to_string());
        let key = ApiKey::new(id, digest, "ada".into(), DateTime::UNIX_EPOCH);
        self.desk.put(key.clone(), Owner::new("ada")).await;
        key
    }

    /// Loses the deactivation of these keys, before it reached the store.
    fn lose(&self, keys: &[&ApiKey]) {
        let goals: Vec<Goal> = keys.iter().map(|key| off(key)).collect();
        let subjects = goals.iter().flat_map(Goal::subjects).collect();
        let places = self.settler.places(u32::try_from(goals.len()).unwrap()).unwrap();
        Settler::lost(&self.settler, subjects, Repair::Keys(goals), places);
    }

    /// Loses an update, before it reached the store.
    fn loses_update(&self, before: &ApiKey, after: &ApiKey) {
        let (before, after, owner) = (before.clone(), after.clone(), Owner::new("ada"));
        let goal = Goal::Again(Change { before, after, owner, is_overtaken: false });
        let (subjects, places) = (goal.subjects(), self.settler.places(1).unwrap());
        Settler::lost(&self.settler, subjects, Repair::Keys(vec![goal]), places);
    }

    async fn is_suspect(&self, key: &ApiKey) -> bool {
        matches!(self.cache.fetch(*key.digest(), Demand::Current).await, Err(ReadError::Suspect))
    }

    async fn is_active(&self, key: &ApiKey) -> bool {
        self.desk.row(key.id()).await.unwrap().is_active()
    }

    /// Waits until what was lost about the key is made good.
    async fn settled(&self, key: &ApiKey) {
        let settled = async {
            loop {
                let news = self.settler.news.notified();
                if !self.settler.is_unsettled(&[Subject::Key(key.id())]) {
                    return;
                }
                news.await;
            }
        };
        time::timeout(PATIENCE, settled).await.expect("it is made good, and that is told");
    }

    /// Waits until nothing is left.
    async fn drained(&self) {
        let drained = time::timeout(PATIENCE, self.settler.drain()).await;
        assert!(drained.is_ok(), "{} left", self.settler.unsettled());
    }

    /// Waits until nobody tends anything any more, with time that passes.
    async fn is_left_alone(&self) {
        for _ in 0..100 {
            if self.tenders() == 0 {
                return;
            }
            time::advance(LONGEST_PAUSE).await;
            idle().await;
        }
        panic!("{} tenders go on", self.tenders());
    }

    /// How many tenders there are, tries included.
    fn tenders(&self) -> usize {
        Arc::strong_count(&self.settler) - 1
    }
}

fn off(key: &ApiKey) -> Goal {
    let after = key.clone().with_active(false);
    let owner = Owner::new("ada");
    Goal::Again(Change { before: key.clone(), after, owner, is_overtaken: false })
}

/// Lets every other task run until none can go on without a timer; no time passes.
async fn idle() {
    for _ in 0..64 {
        task::yield_now().await;
    }
}

/// tokio's own clock, which stands still but for its timers.
#[expect(clippy::disallowed_methods, reason = "measures tokio's timers, not the time")]
fn tokio_now() -> time::Instant {
    time::Instant::now()
}

/// On a thread that knows no runtime.
fn without_runtime<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(f).join().unwrap())
}

/// Seen to fail without the suspicion in `Settler::lost`, and without the end of it in `made_good`.
#[tokio::test(start_paused = true)]
async fn a_lost_change_is_suspect_until_it_is_made_good() {
    let bench = Bench::new();
    let (key, other) = (bench.key().await, bench.key().await);
    bench.desk.becomes(Mood::Fails);
    bench.lose(&[&key]);
    assert!(bench.is_suspect(&key).await);
    assert!(!bench.is_suspect(&other).await, "another key");
    bench.desk.becomes(Mood::Works);
    bench.settled(&key).await;
    assert!(!bench.is_suspect(&key).await);
    assert!(!bench.is_active(&key).await);
    let slot = bench.cache.fetch(*key.digest(), Demand::Current).await.unwrap();
    assert!(!slot.record().unwrap().key().is_active(), "and that is what is seen");
    assert_eq!(bench.settler.places.available_permits(), PLACES, "its room is free again");
}

/// Seen to fail with an `is_next` that is always true: all were asked for. The one in `tend` only spares
/// tries, as `settle` asks again: without it alone no test fails.
#[tokio::test(start_paused = true)]
async fn what_was_lost_about_one_key_is_made_good_in_the_order_of_its_loss() {
    let bench = Bench::new();
    let (one, other) = (bench.key().await, bench.key().await);
    bench.desk.becomes(Mood::Fails);
    let lost = [vec![&one], vec![&one, &other], vec![&other]];
    lost.iter().for_each(|keys| bench.lose(keys));
    bench.desk.asked_at_least(5).await;
    let ids = |keys: &[&ApiKey]| keys.iter().map(|key| key.id()).collect::<Vec<_>>();
    let asked = bench.desk.asked();
    assert!(asked.iter().all(|keys| *keys == ids(&lost[0])), "others wait behind the first");
    bench.desk.becomes(Mood::Works);
    bench.settled(&one).await;
    bench.settled(&other).await;
    let since: Vec<_> = bench.desk.asked()[asked.len()..].to_vec();
    assert_eq!(since, lost.map(|keys| ids(&keys)));
    assert_eq!(bench.desk.peak(), 1, "one at a time");
}

/// Seen to fail with one turn in place of `TRIES_AT_ONCE` (the other one waited ten seconds behind one
/// that hangs), and with a tender that keeps its only turn between its tries (it waited for ever).
#[tokio::test(start_paused = true)]
async fn one_that_is_stuck_holds_up_no_other() {
    for mood in [Mood::Fails, Mood::Hangs, Mood::Panics] {
        let bench = Bench::new();
        let stuck = bench.key().await;
        bench.desk.is_towards(stuck.id(), mood);
        bench.lose(&[&stuck]);
        bench.desk.asked_at_least(3).await;
        let (other, begun) = (bench.key().await, tokio_now());
        bench.lose(&[&other]);
        bench.settled(&other).await;
        assert_eq!(tokio_now() - begun, Duration::ZERO, "{mood:?}");
        assert!(bench.is_suspect(&stuck).await, "{mood:?}");
    }
}

/// Seen to fail with pauses of up to a minute.
#[tokio::test(start_paused = true)]
async fn a_store_that_comes_back_is_noticed_within_the_longest_pause() {
    let bench = Bench::new();
    let key = bench.key().await;
    bench.desk.becomes(Mood::Fails);
    let begun = tokio_now();
    bench.lose(&[&key]);
    // 50, 100, 200 … 3200 ms, then 5 s each.
    bench.desk.asked_at_least(20).await;
    assert_eq!(tokio_now() - begun, Duration::from_millis(50 * 127 + 12 * 5_000));
    bench.desk.becomes(Mood::Works);
    let back = tokio_now();
    bench.settled(&key).await;
    assert!(tokio_now() - back <= LONGEST_PAUSE);
}

/// Seen to fail without `hurry` in `tend`, and without its notice in `rouse` (no try at all), and without
/// the sleep before it (one at each call).
#[tokio::test(start_paused = true)]
async fn who_asks_in_vain_cuts_a_pause_short_but_not_below_the_first() {
    let bench = Bench::new();
    let key = bench.key().await;
    bench.desk.becomes(Mood::Fails);
    bench.lose(&[&key]);
    bench.desk.asked_at_least(20).await;
    let (asked, begun) = (bench.desk.asked().len(), tokio_now());
    for _ in 0..1_000 {
        bench.settler.rouse();
        idle().await;
        time::advance(Duration::from_millis(1)).await;
    }
    let tries = bench.desk.asked().len() - asked;
    assert!((15..=20).contains(&tries), "{tries} in {:?}", tokio_now() - begun);
    bench.desk.becomes(Mood::Works);
    bench.settler.rouse();
    let back = tokio_now();
    time::timeout(2 * FIRST_PAUSE, bench.settled(&key)).await.unwrap();
    assert!(tokio_now() - back <= 2 * FIRST_PAUSE);
}

/// The ways in which a try fails: each is followed by another, and never by two at once.
///
/// Seen to fail with a panic that is passed on, without `TRY_TIMEOUT` (nobody tries again), and without
/// the first pause.
#[tokio::test(start_paused = true)]
async fn a_try_that_fails_hangs_or_panics_is_followed_by_another() {
    for mood in [Mood::Fails, Mood::Loses, Mood::Hangs, Mood::Panics] {
        let bench = Bench::new();
        let key = bench.key().await;
        bench.desk.becomes(mood);
        let begun = tokio_now();
        bench.lose(&[&key]);
        bench.desk.asked_at_least(3).await;
        let took = tokio_now() - begun;
        let tries = if mood == Mood::Hangs { 2 * Duration::from_secs(10) } else { Duration::ZERO };
        assert_eq!(took, tries + Duration::from_millis(150), "{mood:?}");
        assert!(bench.is_suspect(&key).await, "{mood:?}");
        bench.desk.becomes(Mood::Works);
        bench.settled(&key).await;
        assert!(!bench.is_active(&key).await);
        assert_eq!(bench.desk.peak(), 1, "{mood:?}");
    }
}

/// The first way in which a tender ends: it is done, or finds that it was done by somebody else.
///
/// Seen to fail, by somebody else, without `hurry` in `tend`: it went on sleeping.
#[tokio::test(start_paused = true)]
async fn done_by_itself_or_by_somebody_who_could_not_wait() {
    let bench = Bench::new();
    let key = bench.key().await;
    bench.lose(&[&key]);
    bench.settled(&key).await;
    idle().await;
    assert_eq!(bench.tenders(), 0, "by itself");

    let key = bench.key().await;
    bench.desk.becomes(Mood::Fails);
    bench.lose(&[&key]);
    bench.desk.asked_at_least(bench.desk.asked().len() + 5).await;
    bench.desk.becomes(Mood::Works);
    let asked = bench.desk.asked().len();
    assert!(bench.settler.settle_before(&[Subject::Key(key.id())]).await);
    assert!(!bench.is_suspect(&key).await);
    time::advance(LONGEST_PAUSE).await;
    idle().await;
    assert_eq!(bench.tenders(), 0, "by somebody else");
    assert_eq!(bench.desk.asked().len(), asked + 1, "and only once");
}

/// The second: the authenticator is gone, and the last tries failed. A guard may try once more.
///
/// Seen to fail without `is_closed` and without `LAST_TRIES` (both tenders went on), with tries counted
/// only of the one whose turn it is (the other went on), without `rouse` in `drain` (two left), and in
/// the second half without `rouse` in `close`.
#[tokio::test(start_paused = true)]
async fn given_up_when_nobody_is_left() {
    let bench = Bench::new();
    let key = bench.key().await;
    bench.desk.becomes(Mood::Fails);
    // Two, of which one waits behind the other.
    bench.lose(&[&key]);
    bench.lose(&[&key]);
    bench.desk.asked_at_least(20).await;
    bench.settler.close();
    bench.is_left_alone().await;
    assert_eq!(bench.settler.unsettled(), 2);
    bench.desk.becomes(Mood::Works);
    bench.drained().await;
    assert!(bench.settler.unsettled() == 0 && !bench.is_active(&key).await);

    // What nobody had tended until then is tried as well.
    let bench = Bench::new();
    let key = bench.key().await;
    without_runtime(|| bench.lose(&[&key]));
    assert_eq!(bench.tenders(), 0);
    bench.settler.close();
    bench.settled(&key).await;
    assert!(!bench.is_active(&key).await);
}

fn current_thread() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// The third: its runtime was shut down. Whoever comes next with another one has it tried there.
///
/// Seen to fail without `Queue::leave_alone`, by which `Tending` ends: nobody took it up.
#[test]
fn cancelled_with_its_runtime_and_taken_up_on_the_next() {
    let bench = Bench::new();
    let one = current_thread();
    let key = one.block_on(async {
        let key = bench.key().await;
        bench.desk.becomes(Mood::Hangs);
        bench.lose(&[&key]);
        bench.desk.asked_at_least(1).await;
        key
    });
    drop(one);
    assert_eq!((bench.tenders(), bench.settler.unsettled()), (0, 1));
    bench.desk.becomes(Mood::Works);
    current_thread().block_on(async {
        assert!(bench.is_suspect(&key).await);
        bench.settler.rouse();
        bench.settled(&key).await;
        assert!(!bench.is_active(&key).await);
    });
}

/// A change that is dropped because its runtime ends is lost within the shutdown.
///
/// Seen to fail with the queue held while tenders are started: the shutdown never ended.
#[test]
fn lost_within_the_shutdown_of_a_runtime() {
    struct Losing(Arc<Bench>, ApiKey);
    impl Drop for Losing {
        fn drop(&mut self) {
            self.0.lose(&[&self.1]);
        }
    }
    let bench = Arc::new(Bench::new());
    let one = current_thread();
    let key = one.block_on(bench.key());
    let losing = Losing(Arc::clone(&bench), key.clone());
    one.spawn(async move {
        let _losing = losing;
        std::future::pending::<()>().await;
    });
    one.block_on(task::yield_now());
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        drop(one);
        ended.send(())
    });
    end.recv_timeout(PATIENCE).expect("the shutdown ends");
    assert_eq!((bench.tenders(), bench.settler.unsettled()), (0, 1));
    current_thread().block_on(async {
        bench.settler.rouse();
        bench.settled(&key).await;
    });
}

/// Without a runtime nothing happens by itself: the next change settles what earlier ones left, and
/// waits only for what is about its own subjects.
///
/// Seen to fail with what is about others left alone (not made good on the way), and with what was made
/// good left among the untended (its room was not free again).
#[test]
fn without_a_runtime_the_next_change_settles_what_was_lost() {
    let bench = Bench::new();
    let now = |key: &ApiKey| bench.is_suspect(key).now_or_never().unwrap();
    let key = || bench.key().now_or_never().unwrap();
    let (one, stuck, other) = (key(), key(), key());
    bench.desk.is_towards(stuck.id(), Mood::Fails);
    bench.lose(&[&one]);
    bench.lose(&[&stuck]);
    bench.lose(&[&stuck, &other]);
    assert!(now(&one) && now(&stuck) && now(&other));
    let before = |key: &ApiKey| {
        let about = [Subject::Key(key.id())];
        bench.settler.settle_before(&about).now_or_never().unwrap()
    };
    assert!(before(&key()), "a change of another key");
    assert!(!now(&one), "made good on the way");
    assert!(!before(&stuck), "its own is not settled");
    assert!(!before(&other), "it stands behind that one");
    bench.desk.is_towards(stuck.id(), Mood::Works);
    assert!(before(&other));
    assert!(!now(&stuck) && !now(&other) && bench.settler.unsettled() == 0);
    assert_eq!(bench.settler.places.available_permits(), PLACES, "their room is free again");
}

/// On a runtime a change waits for what it follows and for nothing else.
///
/// Seen to fail with all that is lost settled first (it waited ten seconds), and without `TRY_TIMEOUT`.
#[tokio::test(start_paused = true)]
async fn a_change_waits_for_what_was_lost_about_its_own_subjects() {
    let bench = Bench::new();
    let (one, stuck) = (bench.key().await, bench.key().await);
    bench.desk.is_towards(stuck.id(), Mood::Hangs);
    bench.lose(&[&stuck]);
    bench.lose(&[&one]);
    let begun = tokio_now();
    assert!(bench.settler.settle_before(&[Subject::Key(one.id())]).await);
    assert_eq!(tokio_now() - begun, Duration::ZERO);
    assert!(!bench.settler.settle_before(&[Subject::Key(stuck.id())]).await, "after one try");
    assert!(tokio_now() - begun <= Duration::from_secs(10));
}

/// What was lost about another key stands in front, if a third one is about both: it is settled first,
/// and while it can't be, nothing behind it is.
///
/// Seen to fail with only what is about the very subjects settled first (the change was refused), and
/// without the look at `is_next` in `settle` (the one behind was made good).
#[tokio::test(start_paused = true)]
async fn a_change_waits_for_what_stands_in_front_of_its_own() {
    let bench = Bench::new();
    let (one, other) = (bench.key().await, bench.key().await);
    bench.desk.is_towards(one.id(), Mood::Fails);
    for keys in [&[&one][..], &[&one, &other], &[&other]] {
        bench.lose(keys);
    }
    // The tenders are in pauses that nobody cuts short.
    bench.desk.asked_at_least(1).await;
    idle().await;
    let about = [Subject::Key(other.id())];
    assert!(!bench.settler.settle_before(&about).await);
    assert!(bench.is_active(&other).await, "behind one that is not settled");
    bench.desk.is_towards(one.id(), Mood::Works);
    let begun = tokio_now();
    assert!(bench.settler.settle_before(&about).await, "all in front is settled on the way");
    assert_eq!(tokio_now() - begun, Duration::ZERO);
}

/// The store answers again: who had to wait the longest pause does so no more.
///
/// Seen to fail without `hurry` in `made_good`.
#[tokio::test(start_paused = true)]
async fn what_is_made_good_tells_the_others_that_the_store_is_back() {
    let bench = Bench::new();
    bench.desk.becomes(Mood::Fails);
    let keys = [bench.key().await, bench.key().await];
    for key in &keys {
        bench.lose(&[key]);
        time::sleep(LONGEST_PAUSE / 2).await;
    }
    bench.desk.asked_at_least(40).await;
    bench.desk.becomes(Mood::Works);
    let news = bench.settler.news.notified();
    time::timeout(PATIENCE, news).await.expect("the first is made good");
    let begun = tokio_now();
    for key in &keys {
        bench.settled(key).await;
    }
    assert!(tokio_now() - begun <= FIRST_PAUSE, "{:?} later", tokio_now() - begun);
}

/// A try that is under way must not come behind what the next one allowed: whoever can't wait for the
/// tender waits for its try.
///
/// Seen to fail without `trying` (both asked the store at once), and without the look whether it still
/// waits behind it (both did, one after the other).
#[tokio::test(start_paused = true)]
async fn two_never_try_the_same_at_once() {
    let bench = Bench::new();
    let key = bench.key().await;
    bench.desk.becomes(Mood::Waits);
    bench.lose(&[&key]);
    bench.desk.asked_at_least(1).await;
    let settler = Arc::clone(&bench.settler);
    let about = [Subject::Key(key.id())];
    let waiting = task::spawn(async move { settler.settle_before(&about).await });
    idle().await;
    assert!(!waiting.is_finished());
    bench.desk.release();
    assert!(waiting.await.unwrap());
    assert_eq!((bench.desk.asked().len(), bench.desk.peak()), (1, 1));
}

/// Of two changes that nobody can put in order the one that denies is made good: a rotation must not
/// put a key back that was made inactive just before, though the row looks as the rotation left it.
///
/// Seen to fail, with the rotation lost last, without `overtaken` in `Queue::remove`: the key was active
/// in the end.
#[tokio::test(start_paused = true)]
async fn what_was_made_good_is_not_undone_by_what_waits_behind_it() {
    for rotation_first in [true, false] {
        let bench = Bench::new();
        let key = bench.key().await;
        let after = key.clone().with_active(false);
        // The rotation has landed: the deactivation finds nothing to do.
        bench.desk.becomes(Mood::Fails);
        let restore = || {
            let goal = Goal::Restore { before: key.clone(), after: after.clone() };
            let (subjects, places) = (goal.subjects(), bench.settler.places(1).unwrap());
            Settler::lost(&bench.settler, subjects, Repair::Keys(vec![goal]), places);
        };
        if rotation_first {
            restore();
            bench.lose(&[&key]);
        } else {
            bench.lose(&[&key]);
            restore();
        }
        bench.desk.becomes(Mood::Works);
        bench.drained().await;
        assert!(!bench.is_active(&key).await, "rotation first: {rotation_first}");
    }
}

/// Two updates at once, both lost: of what the one gives and the other does not, nobody can tell whether
/// it is still wanted.
///
/// Seen to fail without `overtaken` in `Queue::push` (the wider one lost first), and without the one in
/// `Queue::remove` (the wider one lost second): its scopes and its expiry were there in the end.
#[tokio::test(start_paused = true)]
async fn of_two_updates_lost_at_once_neither_gives_what_the_other_does_not() {
    let key = Bench::new().key().await;
    let read = key.clone().with_expires_at(Some(DateTime::UNIX_EPOCH));
    let (since, wider) = (read.updated_at() + chrono::Duration::seconds(1), ["read", "write"]);
    let written = [
        read.clone().with_scopes(wider).with_expires_at(None).with_updated_at(since),
        read.clone().with_name("renamed").with_updated_at(since),
    ];
    for order in [[0, 1], [1, 0]] {
        let bench = Bench::new();
        bench.desk.put(read.clone(), Owner::new("ada")).await;
        bench.desk.becomes(Mood::Fails);
        for number in order {
            bench.loses_update(&read, &written[number]);
        }
        bench.desk.becomes(Mood::Works);
        bench.drained().await;
        let row = bench.desk.row(key.id()).await.unwrap();
        assert_eq!((row.scopes().count(), row.expires_at()), (0, read.expires_at()), "{order:?}");
    }
}

/// A change that was under way beside the lost one, and was made.
///
/// Seen to fail without `Queue::overtaken`: the key was active in the end.
#[tokio::test(start_paused = true)]
async fn what_was_changed_since_is_not_given_again() {
    let bench = Bench::new();
    let key = bench.key().await;
    let before = key.clone().with_active(false);
    bench.desk.becomes(Mood::Fails);
    bench.loses_update(&before, &key);
    // Somebody else's deactivation is made, and leaves the row as the lost activation had read it.
    bench.settler.overtaken(&[Subject::Key(key.id())]);
    bench.desk.becomes(Mood::Works);
    let mut plan = |_: &crate::state::store::Family| {
        Some(vec![crate::state::store::KeyWrite::Update(before.clone())])
    };
    let repository: &dyn DynRepository = &bench.desk;
    repository.change(&[key.id()], None, &mut plan).await.unwrap();
    bench.drained().await;
    assert!(!bench.is_active(&key).await);
}

/// What a bad day leaves is bounded: no room, no change; and so is what is tried at once.
///
/// Seen to fail with a turn for each (as many at once as the test waits for), with one turn for all, without `rouse` in `drain` (all
/// left), and with what was made good left among the untended (no room).
#[test]
fn there_is_room_for_so_much_and_no_more() {
    let bench = Bench::new();
    let keys: Vec<ApiKey> = (0..PLACES).map(|_| bench.key().now_or_never().unwrap()).collect();
    keys.iter().for_each(|key| bench.lose(&[key]));
    assert!(bench.settler.places(1).is_none());
    assert_eq!(bench.settler.unsettled(), PLACES);
    bench.desk.becomes(Mood::Waits);
    current_thread().block_on(async {
        let released = async {
            bench.desk.asked_at_least(TRIES_AT_ONCE).await;
            idle().await;
            bench.desk.release();
        };
        join(bench.drained(), released).await;
    });
    assert!(bench.settler.unsettled() == 0);
    assert_eq!(bench.settler.places.available_permits(), PLACES);
    assert_eq!(bench.desk.peak(), TRIES_AT_ONCE);
    for key in keys {
        assert!(!bench.is_active(&key).now_or_never().unwrap());
        assert!(!bench.is_suspect(&key).now_or_never().unwrap());
    }
}

/// Nothing lost is ever left without somebody who tries it while a runtime is there: losses from
/// several threads, some of them without a runtime, against a store whose mood changes. Nobody rouses
/// but they.
///
/// Seen to fail without `rouse` in `Settler::lost`, and with what was made good put among the untended when
/// its tender ends (its room was not free again).
#[test]
fn nothing_is_left_lying_about() {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    let runtime = runtime.unwrap();
    let bench = Bench::new();
    let keys: Vec<ApiKey> = (0..40).map(|_| bench.key().now_or_never().unwrap()).collect();
    thread::scope(|scope| {
        for thread in 0..4_usize {
            let (bench, keys, handle) = (&bench, &keys, runtime.handle());
            scope.spawn(move || {
                let moods = [Mood::Works, Mood::Fails, Mood::Works, Mood::Panics];
                for round in 0..100 {
                    bench.desk.becomes(moods[(round + thread) % 4]);
                    // The last ones have a runtime, so that nobody waits for a change to come.
                    let _inside = (round % 3 > 0 || round > 90).then(|| handle.enter());
                    let at = round * 7 + thread;
                    bench.lose(&[&keys[at % 40], &keys[(at * 3 + 1) % 40]]);
                }
            });
        }
    });
    bench.desk.becomes(Mood::Works);
    runtime.block_on(async {
        for key in &keys {
            bench.settled(key).await;
        }
        let alone = async {
            while bench.tenders() > 0 {
                task::yield_now().await;
            }
        };
        time::timeout(PATIENCE, alone).await.expect("who has nothing left to tend ends");
    });
    assert!(bench.settler.unsettled() == 0);
    assert_eq!(bench.settler.places.available_permits(), PLACES);
}

/// Seen to fail with one room for all changes, and with the surplus kept.
#[test]
fn changes_of_many_keys_leave_room_for_those_of_single_ones() {
    let bench = Bench::new();
    let mut batch = bench.settler.places(401).unwrap();
    batch.keep(200);
    let left = u32::try_from(BULK_PLACES - 200).unwrap();
    let _others = bench.settler.places(left).expect("the surplus of the first was given back");
    assert!(bench.settler.places(401).is_none());
    assert!(bench.settler.places(3).is_some(), "a key, its relative, and one that is added");
    drop(batch);
    assert_eq!(bench.settler.bulk_places.available_permits(), 200);
}
