//! The recorder on its own: one `due` shared by all, as the cache keeps it.

use std::{
    future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{runtime, sync::watch, time};

use super::{Guard, Recorder, queue::Moment, worker::End};
use crate::{
    state::store::{KeyStore, KeyUse, StoreError},
    value::{
        clock::{Clock, ManualClock},
        digest::{DigestAlgorithm, TokenDigest},
        key::{ApiKey, KeyId, Record},
        owner::Owner,
    },
};

const WINDOW: Duration = Duration::from_secs(300);
/// The window and the slack behind it.
const PAST_WINDOW: Duration = Duration::from_millis(300_301);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Writes,
    Fails,
    Hangs,
    Panics,
    Refuses,
}

/// A store that notes what it is asked, and does as it is told.
struct Desk {
    mood: Mutex<Mood>,
    statements: watch::Sender<Vec<Vec<KeyUse>>>,
}

impl Desk {
    fn new() -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(Mood::Writes), statements: watch::Sender::default() })
    }

    fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.statements.borrow().len()
    }

    async fn asked_at_least(&self, statements: usize) {
        let mut log = self.statements.subscribe();
        log.wait_for(|log| log.len() >= statements).await.unwrap();
    }
}

struct Shared(Arc<Desk>);

impl KeyStore for Shared {
    fn digest_algorithm(&self) -> DigestAlgorithm {
        DigestAlgorithm::Sha256
    }

    async fn find(&self, _digest: TokenDigest) -> Result<Option<Record>, StoreError> {
        Ok(None)
    }

    async fn find_many(&self, _digests: &[TokenDigest]) -> Result<Vec<Record>, StoreError> {
        Ok(Vec::new())
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<u64, StoreError> {
        self.0.statements.send_modify(|log| log.push(uses.to_vec()));
        let mood = *self.0.mood.lock().unwrap();
        match mood {
            Mood::Writes => Ok(uses.len() as u64),
            Mood::Fails => Err(StoreError::unavailable("down")),
            Mood::Hangs => future::pending().await,
            Mood::Panics => panic!("a store that panics"),
            Mood::Refuses => Err(StoreError::unsupported("read only")),
        }
    }
}

struct Bench {
    desk: Arc<Desk>,
    hand: ManualClock,
    clock: Clock,
    recorder: Recorder,
    guard: Guard,
}

impl Bench {
    fn new() -> Self {
        let desk = Desk::new();
        let hand = ManualClock::at(DateTime::<Utc>::UNIX_EPOCH + chrono::Duration::days(20_000));
        let clock = Clock::from(hand.clone());
        let store = Arc::new(Shared(Arc::clone(&desk)));
        let recorder = Recorder::new(store, clock.clone(), Some(WINDOW));
        let guard = recorder.guard();
        Self { desk, hand, clock, recorder, guard }
    }

    /// Both clocks together: tokio's timers do not follow the hand.
    async fn pass(&self, span: Duration) {
        self.hand.advance(span);
        time::advance(span).await;
    }

    fn see(&self, record: &Record, due: &AtomicU64) {
        self.recorder.seen(record, due, self.clock.monotonic());
    }

    /// Fills the queue with keys that nobody asks about again.
    fn fill(&self) {
        for _ in 0..8_192 {
            self.see(&record(None), &AtomicU64::new(0));
        }
    }

    fn end(&self) -> Option<End> {
        self.guard.writer.as_ref().unwrap().end()
    }
}

/// tokio's own clock, which stands still but for its timers.
#[expect(clippy::disallowed_methods, reason = "measures tokio's timers, not the time")]
fn tokio_now() -> time::Instant {
    time::Instant::now()
}

fn record(last_used_at: Option<DateTime<Utc>>) -> Record {
    let id = KeyId::random();
    let digest = TokenDigest::of(DigestAlgorithm::Sha256, &id.to_string());
    let key = ApiKey::new(id, digest, "ada".into(), DateTime::UNIX_EPOCH);
    Record::new(key.with_last_used_at(last_used_at), Owner::new("ada"))
}

#[test]
fn due_at_once_when_never_used_and_a_window_after_the_last_use() {
    let bench = Bench::new();
    let now = bench.hand.wall();
    assert_eq!(bench.recorder.due_at(&record(None)), 0);
    assert_eq!(bench.recorder.due_at(&record(Some(now - WINDOW - Duration::from_micros(1)))), 0);
    let recent = bench.recorder.due_at(&record(Some(now - Duration::from_secs(299))));
    let nanos = recent - bench.clock.monotonic().as_nanos();
    assert!((1_000_000_000..1_400_000_000).contains(&nanos), "a second and the slack: {nanos}");
    let off = Recorder::new(Arc::new(Shared(Desk::new())), Clock::system(), None);
    assert_eq!(off.due_at(&record(None)), u64::MAX);
}

// Negative control: with the swap before the place (and `due` left moved when there is none), the
// last assertion finds no statement that holds the key.
#[tokio::test(start_paused = true)]
async fn a_full_queue_leaves_due_alone_so_that_a_later_hit_is_recorded() {
    let bench = Bench::new();
    bench.desk.becomes(Mood::Hangs);
    bench.fill();
    let (late, due) = (record(None), AtomicU64::new(0));
    bench.see(&late, &due);
    let now = bench.clock.monotonic().as_nanos();
    assert!(due.load(Ordering::SeqCst) <= now, "turned away, and still due");
    bench.desk.asked_at_least(1).await;
    bench.desk.becomes(Mood::Writes);
    // 8,192 keys are 17 statements; the first of them hung until its timeout.
    bench.desk.asked_at_least(18).await;
    bench.see(&late, &due);
    assert_ne!(due.load(Ordering::SeqCst), 0);
    let report = bench.guard.shutdown(Duration::from_secs(60)).await;
    assert_eq!((report.written(), report.turned_away(), report.unwritten()), (8_193, 1, 0));
    let statements = bench.desk.statements.borrow();
    assert_eq!(statements.last().unwrap()[0].key, late.id());
}

// Rule 18 of the cache, on several threads. Negative control: as above, none of the five is held.
#[tokio::test(start_paused = true)]
async fn a_full_queue_costs_no_thread_its_later_hit() {
    let bench = Bench::new();
    bench.desk.becomes(Mood::Hangs);
    bench.fill();
    let (shared, shared_due) = (record(None), AtomicU64::new(0));
    let own: Vec<_> = (0..4).map(|_| (record(None), AtomicU64::new(0))).collect();
    let on_every_thread = || {
        std::thread::scope(|scope| {
            for (key, due) in &own {
                scope.spawn(|| {
                    bench.see(key, due);
                    bench.see(&shared, &shared_due);
                });
            }
        });
    };
    on_every_thread();
    assert_eq!(bench.guard.writer.as_ref().unwrap().held(), 8_192);
    bench.desk.asked_at_least(1).await;
    bench.desk.becomes(Mood::Writes);
    bench.desk.asked_at_least(18).await;
    on_every_thread();
    assert_eq!(bench.guard.writer.as_ref().unwrap().held(), 5);
    let report = bench.guard.shutdown(Duration::from_secs(60)).await;
    assert_eq!((report.written(), report.turned_away(), report.unwritten()), (8_197, 8, 0));
}

#[tokio::test(start_paused = true)]
async fn hits_within_a_window_are_one_write_and_the_next_window_is_another() {
    let bench = Bench::new();
    let (key, due) = (record(None), AtomicU64::new(0));
    for window in 1..=3 {
        for _ in 0..1000 {
            bench.see(&key, &due);
        }
        bench.desk.asked_at_least(window).await;
        // An hour of the workers' timers alone: nothing else was queued.
        time::advance(Duration::from_secs(3600)).await;
        assert_eq!(bench.desk.asked(), window);
        bench.hand.advance(PAST_WINDOW);
    }
    let statements = bench.desk.statements.borrow();
    let uses: Vec<_> = statements.iter().flatten().collect();
    assert_eq!(uses.len(), 3);
    assert!(uses.windows(2).all(|pair| pair[0].at < pair[1].if_before), "no write is passed over");
}

#[test]
fn threads_that_find_a_key_due_together_take_one_place() {
    let bench = Bench::new();
    let (key, due) = (record(None), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| bench.see(&key, &due)));
        }
    });
    assert!(due.load(Ordering::SeqCst) > bench.clock.monotonic().after(WINDOW).as_nanos());
    assert_eq!(bench.guard.writer.as_ref().unwrap().held(), 1);
}

// Negative control: with cells dropped when their use is taken to be written, more than one is
// handed over.
#[tokio::test(start_paused = true)]
async fn threads_whose_slots_know_nothing_of_each_other_take_one_place() {
    let bench = Bench::new();
    let key = record(None);
    for _ in 0..3 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| bench.see(&key, &AtomicU64::new(0))));
            }
        });
        // Outside a runtime those found no worker to wake.
        let writer = bench.guard.writer.as_ref().unwrap();
        writer.flush().await.unwrap();
    }
    let uses: usize = bench.desk.statements.borrow().iter().map(Vec::len).sum();
    assert_eq!(uses, 1);
}

// A calendar that was wrong for a while: the stored time was in its future, and the key due no
// earlier than that. Negative control: without the window as the bound in `due_at`, an hour passes.
#[test]
fn a_calendar_set_back_and_right_again_costs_no_more_than_a_window() {
    let bench = Bench::new();
    let (key, due) = (record(Some(bench.hand.wall())), AtomicU64::new(0));
    bench.hand.step_wall(-chrono::Duration::hours(1));
    bench.see(&key, &due);
    bench.hand.step_wall(chrono::Duration::hours(1));
    bench.hand.advance(PAST_WINDOW);
    bench.see(&key, &due);
    assert_eq!(bench.guard.writer.as_ref().unwrap().held(), 1);
}

#[tokio::test(start_paused = true)]
async fn at_most_500_uses_a_statement() {
    let bench = Bench::new();
    for _ in 0..1_201 {
        bench.see(&record(None), &AtomicU64::new(0));
    }
    bench.desk.asked_at_least(3).await;
    let sizes: Vec<_> = bench.desk.statements.borrow().iter().map(Vec::len).collect();
    assert_eq!(sizes, [500, 500, 201]);
}

// Negative control: with a batch that is not put back on drop, the report writes nothing.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_tried_again_with_longer_pauses_and_then_writes_all() {
    let bench = Bench::new();
    bench.desk.becomes(Mood::Fails);
    bench.see(&record(None), &AtomicU64::new(0));
    let start = tokio_now();
    bench.desk.asked_at_least(9).await;
    // 1 + 2 + 4 + 8 + 16 + 32 + 60 + 60 + 60 seconds.
    assert_eq!(start.elapsed().as_secs(), 243);
    bench.desk.becomes(Mood::Writes);
    bench.desk.asked_at_least(10).await;
    let report = bench.guard.shutdown(Duration::ZERO).await;
    assert_eq!((report.written(), report.unwritten(), report.lost()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_can_t_write_is_asked_once() {
    let bench = Bench::new();
    bench.desk.becomes(Mood::Refuses);
    let (key, due) = (record(None), AtomicU64::new(0));
    bench.see(&key, &due);
    bench.desk.asked_at_least(1).await;
    bench.pass(PAST_WINDOW).await;
    bench.see(&key, &due);
    assert_eq!(due.load(Ordering::SeqCst), u64::MAX, "never due again");
    assert_eq!(bench.recorder.due_at(&record(None)), u64::MAX);
    let report = bench.guard.shutdown(Duration::from_secs(5)).await;
    assert_eq!((bench.desk.asked(), report.lost(), report.unwritten()), (1, 1, 0));
    assert!(report.to_string().contains("can't write"), "{report}");
}

// A use that was queued while the store's refusal was on its way. Negative control: without the look
// at `has_given_up` in `flush`, the store is asked twice.
#[tokio::test(start_paused = true)]
async fn nor_for_a_use_that_was_queued_before_it_said_so() {
    let bench = Bench::new();
    bench.desk.becomes(Mood::Hangs);
    bench.see(&record(None), &AtomicU64::new(0));
    bench.desk.asked_at_least(1).await;
    bench.see(&record(None), &AtomicU64::new(0));
    bench.desk.becomes(Mood::Refuses);
    let writer = Arc::clone(bench.guard.writer.as_ref().unwrap());
    // The first statement runs into its timeout; the second one, of both uses, is refused.
    bench.desk.asked_at_least(2).await;
    let place = writer.place().unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(writer.has_given_up());
    let (now, due) = (bench.clock.monotonic().as_nanos(), AtomicU64::new(0));
    let at = bench.clock.now();
    let late = record(None);
    let key_use = KeyUse { key: late.id(), digest: *late.key().digest(), at, if_before: at };
    assert!(place.fill(key_use, &Moment { now, next: u64::MAX, due: &due, expected: 0 }));
    let report = bench.guard.shutdown(Duration::from_secs(5)).await;
    assert_eq!((bench.desk.asked(), report.lost(), report.unwritten()), (2, 3, 0));
}

// Negative control: without the worker's look at `is_closed`, an hour passes and the worker lives.
#[tokio::test(start_paused = true)]
async fn done_when_the_last_recorder_is_gone_and_nothing_is_left() {
    let Bench { desk, clock, recorder, guard, .. } = Bench::new();
    let writer = Arc::clone(guard.writer.as_ref().unwrap());
    recorder.seen(&record(None), &AtomicU64::new(0), clock.monotonic());
    drop(guard);
    drop(recorder.clone());
    assert!(writer.end().is_none(), "a clone is left");
    drop(recorder);
    desk.asked_at_least(1).await;
    // An hour of the paused clock: a worker that never ends fails here and does not hang.
    let ended = async {
        while Arc::strong_count(&writer) > 1 {
            time::sleep(Duration::from_secs(1)).await;
        }
    };
    time::timeout(Duration::from_secs(3600), ended).await.expect("the worker has ended");
    assert_eq!((writer.end(), writer.held()), (Some(End::Done), 0));
}

#[tokio::test(start_paused = true)]
async fn done_after_three_tries_when_nobody_is_left_to_wait_for_a_dead_store() {
    for mood in [Mood::Fails, Mood::Hangs] {
        let Bench { desk, clock, recorder, guard, .. } = Bench::new();
        let writer = Arc::clone(guard.writer.as_ref().unwrap());
        desk.becomes(mood);
        recorder.seen(&record(None), &AtomicU64::new(0), clock.monotonic());
        drop((recorder, guard));
        while Arc::strong_count(&writer) > 1 {
            time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!((writer.end(), desk.asked()), (Some(End::Done), 3), "{mood:?}");
        assert_eq!((writer.held(), writer.counters.lost()), (0, 1), "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_when_the_store_panics_and_another_starts_after_a_rest() {
    let bench = Bench::new();
    bench.desk.becomes(Mood::Panics);
    bench.see(&record(None), &AtomicU64::new(0));
    bench.desk.asked_at_least(1).await;
    while bench.end().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.end(), Some(End::Failed));
    bench.desk.becomes(Mood::Writes);
    bench.see(&record(None), &AtomicU64::new(0));
    time::advance(Duration::from_secs(3600)).await;
    assert_eq!(bench.desk.asked(), 1, "it rests");
    bench.pass(Duration::from_secs(60)).await;
    bench.see(&record(None), &AtomicU64::new(0));
    bench.desk.asked_at_least(2).await;
    assert_eq!(bench.desk.statements.borrow()[1].len(), 3, "what was being written was put back");
}

#[test]
fn cancelled_with_its_runtime_and_started_again_on_another() {
    let bench = Bench::new();
    bench.desk.becomes(Mood::Hangs);
    let runtime = || {
        let mut builder = runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let first = runtime();
    first.block_on(async {
        bench.see(&record(None), &AtomicU64::new(0));
        bench.desk.asked_at_least(1).await;
    });
    drop(first);
    assert_eq!(bench.end(), Some(End::Cancelled));
    // Outside a runtime nothing panics, and the use waits.
    bench.see(&record(None), &AtomicU64::new(0));
    bench.desk.becomes(Mood::Writes);
    runtime().block_on(async {
        bench.see(&record(None), &AtomicU64::new(0));
        bench.desk.asked_at_least(2).await;
    });
    assert_eq!(bench.desk.statements.borrow()[1].len(), 3, "what was being written was put back");
}

#[tokio::test(start_paused = true)]
async fn shutdown_keeps_its_deadline_when_the_store_hangs() {
    let bench = Bench::new();
    bench.desk.becomes(Mood::Hangs);
    bench.see(&record(None), &AtomicU64::new(0));
    let start = tokio_now();
    let report = bench.guard.shutdown(Duration::from_secs(3)).await;
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!((report.written(), report.unwritten()), (0, 1));
    assert_eq!(report.to_string(), "access recorder: 0 written (0 at shutdown), 1 unwritten");
}

#[tokio::test(start_paused = true)]
async fn shutdown_tries_a_failing_store_again_until_the_deadline() {
    let bench = Bench::new();
    bench.desk.becomes(Mood::Fails);
    bench.see(&record(None), &AtomicU64::new(0));
    let desk = Arc::clone(&bench.desk);
    let recovers = async {
        desk.asked_at_least(3).await;
        desk.becomes(Mood::Writes);
    };
    let shutdown = bench.guard.shutdown(Duration::from_secs(10));
    let (report, ()) = tokio::join!(shutdown, recovers);
    assert_eq!((report.written(), report.unwritten()), (1, 0));
}
