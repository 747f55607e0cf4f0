//! What is published, as an exporter for Prometheus has it.
//!
//! Each test has a recorder of its own, which only its thread sees: everything runs there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_default_local_recorder,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
    time,
};
use tower::{Layer as _, service_fn};
use tower_token_auth::{
    Authenticator, KeyId, LastUsed, NewKey, Owner, RejectionKind, Subject, TokenAuthLayer,
    store::RevocationChannel, testing::ManualClock,
};

use crate::support::{
    Decision, Fault, Scripted, TOKEN, ask, authenticator, block_on,
    http::{get, name_of_key, send},
    idle, issue, long_ago,
    scrape::Scrape,
    scripted,
};

fn exporter() -> (PrometheusRecorder, PrometheusHandle) {
    let buckets = [0.001, 0.01, 0.1, 1.0];
    let recorder = PrometheusBuilder::new().set_buckets(&buckets).unwrap().build_recorder();
    let handle = recorder.handle();
    (recorder, handle)
}

/// Lets the second pass that lies between two publications.
async fn published(handle: &PrometheusHandle) -> Scrape {
    time::advance(Duration::from_secs(1)).await;
    idle().await;
    Scrape::parse(&handle.render())
}

fn counted<'a>(expected: &[(&'a str, u32)]) -> BTreeMap<&'a str, f64> {
    expected.iter().map(|(series, value)| (*series, f64::from(*value))).collect()
}

async fn all(asked: impl IntoIterator<Item = JoinHandle<Decision>>) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for decision in asked {
        decisions.push(decision.await.unwrap());
    }
    decisions
}

/// Everything that can be counted happens, most of it a number of times of its own. The fourth read
/// that would fail is not sent.
///
/// Seen to fail with any one of the calls of `Meter::count` and `Meter::refused` left out, and with
/// any one line of `read_off`.
#[tokio::test(start_paused = true)]
async fn everything_that_happens_is_counted() {
    let (recorder, handle) = exporter();
    let _local = set_default_local_recorder(&recorder);
    let (auth, store) = scripted().await;
    issue(&store, "cold").await;

    // A miss, and then hits.
    for _ in 0..10 {
        auth.authenticate(TOKEN).await.unwrap();
    }
    // Two that are no keys, each of them once by a read.
    for token in ["a guess", "another guess", "a guess", "a guess"] {
        auth.authenticate(token).await.unwrap_err();
    }
    // Four callers share a read, which is seen while it is under way.
    store.hold();
    let asked = [(); 4].map(|()| ask(&auth, "cold"));
    store.begun(4).await;
    let scrape = published(&handle).await;
    assert_eq!(scrape.of("store_reads_in_flight"), 1.0);
    store.release();
    assert!(all(asked).await.iter().all(Result::is_ok));
    // No credential at all.
    let service = TokenAuthLayer::new(auth.clone()).layer(service_fn(name_of_key::<Full<Bytes>>));
    for _ in 0..5 {
        let request: Request<Full<Bytes>> = get();
        assert_eq!(send(&service, request).await.status, StatusCode::UNAUTHORIZED);
    }
    // Changes, and a flush. An authoritative decision rests on the cache only to refuse.
    let (key, _token) = auth.keys().create(Owner::staff("ada"), NewKey::default()).await.unwrap();
    auth.keys().deactivate(key.id()).await.unwrap();
    auth.authenticate_authoritative("a guess").await.unwrap_err();
    auth.flush();
    auth.authenticate_authoritative("a guess").await.unwrap_err();
    // A store in trouble, and then a breaker that asks it no more.
    store.hold();
    let timed_out = auth.authenticate("x").await.unwrap_err();
    assert_eq!(timed_out.kind(), RejectionKind::TimedOut);
    store.release();
    for fault in [Fault::Other, Fault::Panic] {
        store.fail(fault == Fault::Other);
        store.break_reads((fault == Fault::Panic).then_some(fault));
        auth.authenticate("x").await.unwrap_err();
        auth.authenticate("x").await.unwrap_err();
    }

    let scrape = published(&handle).await;
    let expected = counted(&[
        ("admitted_total", 14),
        (r#"refused_total{kind="missing"}"#, 5),
        (r#"refused_total{kind="unknown"}"#, 6),
        (r#"refused_total{kind="store_unavailable"}"#, 4),
        (r#"refused_total{kind="timed_out"}"#, 1),
        (r#"cache_lookups_total{result="hit"}"#, 9),
        (r#"cache_lookups_total{result="negative"}"#, 3),
        (r#"cache_lookups_total{result="miss"}"#, 12),
        (r#"store_reads_total{outcome="found"}"#, 2),
        (r#"store_reads_total{outcome="absent"}"#, 3),
        (r#"store_reads_total{outcome="failed"}"#, 3),
        (r#"store_reads_total{outcome="timed_out"}"#, 1),
        ("flights_joined_total", 3),
        (r#"revocations_total{source="local"}"#, 3),
        ("recorder_written_total", 2),
        (r#"cache_entries{state="present"}"#, 2),
        (r#"cache_entries{state="absent"}"#, 2),
        ("store_read_duration_seconds_count", 9),
        ("miss_decision_duration_seconds_count", 14),
    ]);
    assert_eq!(scrape.counted(), expected);
}

/// Seen to fail with a timer that is dropped at once.
#[tokio::test(start_paused = true)]
async fn durations_are_in_seconds_and_from_end_to_end() {
    let (recorder, handle) = exporter();
    let _local = set_default_local_recorder(&recorder);
    let (store, clock) = (Scripted::new(), ManualClock::at(long_ago()));
    let builder = Authenticator::builder(store.clone()).clock(clock.clone()).max_in_flight(2);
    let (auth, _guard) = builder.build().unwrap();
    store.hold();
    // Of two turns, one is for known keys alone: the second request waits in line.
    let asked = ["one", "another"].map(|token| ask(&auth, token));
    store.begun(1).await;
    clock.advance(Duration::from_millis(250));
    store.release();
    assert!(all(asked).await.iter().all(Result::is_err));
    let scrape = published(&handle).await;
    assert_eq!(scrape.of("store_read_duration_seconds_count"), 2.0);
    assert_eq!(scrape.of("store_read_duration_seconds_sum"), 0.25);
    assert_eq!(scrape.of("miss_decision_duration_seconds_sum"), 0.5);
    assert_eq!(scrape.of(r#"miss_decision_duration_seconds_bucket{le="1"}"#), 2.0);
    assert_eq!(scrape.of(r#"miss_decision_duration_seconds_bucket{le="0.1"}"#), 0.0);
}

/// Its runtime is shut down under it.
#[test]
fn a_read_that_nobody_ends_is_counted_too() {
    let (recorder, handle) = exporter();
    let _local = set_default_local_recorder(&recorder);
    let runtime = current_thread();
    let (auth, store) = runtime.block_on(scripted());
    store.hold();
    runtime.block_on(async {
        drop(ask(&auth, TOKEN));
        store.begun(1).await;
    });
    drop((runtime, auth));
    let scrape = Scrape::parse(&handle.render());
    assert_eq!(scrape.of(r#"store_reads_total{outcome="abandoned"}"#), 1.0);
    assert_eq!(scrape.of("miss_decision_duration_seconds_count"), 1.0, "its caller gave up");
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Seen to fail without the line of `read_off` that reads it.
#[tokio::test(start_paused = true)]
async fn what_is_suspect_is_a_level() {
    let (recorder, handle) = exporter();
    let _local = set_default_local_recorder(&recorder);
    let (auth, store) = scripted().await;
    let key = auth.authenticate(TOKEN).await.unwrap();
    assert_eq!(published(&handle).await.of("suspects"), 0.0);
    store.lose_answers();
    assert!(auth.keys().deactivate(key.id()).await.unwrap_err().is_outcome_unknown());
    assert_eq!(published(&handle).await.of("suspects"), 1.0, "no answer settles it");
    drop(auth);
    assert_eq!(Scrape::parse(&handle.render()).of("suspects"), 0.0);
}

/// What is heard, a gap, and whether the feed can be relied on, which needs nobody to say so: here it
/// is the channel that is gone.
///
/// Seen to fail without each of the driver's counts, and without the feed's `read_off`.
#[tokio::test(start_paused = true)]
async fn a_feed_is_counted_and_its_health_is_a_level() {
    let (recorder, handle) = exporter();
    let _local = set_default_local_recorder(&recorder);
    let (channel, clock) = (RevocationChannel::new(1), ManualClock::at(long_ago()));
    let builder = Authenticator::builder(Scripted::new()).clock(clock.clone());
    let (auth, _guard) = builder.feed(channel.feed()).build().unwrap();
    auth.authenticate("a guess").await.unwrap_err();
    let second = async || {
        clock.advance(Duration::from_secs(1));
        published(&handle).await
    };
    let feeds = |scrape: &Scrape| {
        ["healthy", "unhealthy"].map(|state| scrape.of(&format!("feeds{{state=\"{state}\"}}")))
    };
    assert_eq!(feeds(&second().await), [1.0, 0.0]);
    channel.revoke(Subject::Key(KeyId::random()));
    idle().await;
    channel.flush();
    let scrape = second().await;
    assert_eq!(scrape.of(r#"revocations_total{source="feed"}"#), 2.0);
    assert_eq!(scrape.of("feed_gaps_total"), 0.0);
    // More at once than the channel holds.
    for _ in 0..3 {
        channel.revoke(Subject::Key(KeyId::random()));
    }
    assert_eq!(second().await.of("feed_gaps_total"), 1.0);
    drop(channel);
    for _ in 0..20 {
        second().await;
    }
    assert_eq!(feeds(&second().await), [0.0, 1.0]);
    drop(auth);
    assert_eq!(feeds(&Scrape::parse(&handle.render())), [0.0, 0.0]);
}

/// Seen to fail with gauges that are set in place of counted up and down (the later one's value
/// stands), and with the publication left out of `Inner`'s `drop` (the gauges keep what is gone).
#[tokio::test(start_paused = true)]
async fn two_authenticators_add_up_and_the_one_that_goes_takes_its_levels_along() {
    let (recorder, handle) = exporter();
    let _local = set_default_local_recorder(&recorder);
    let ((one, _), (other, other_store)) = (scripted().await, scripted().await);
    issue(&other_store, "another").await;
    one.authenticate(TOKEN).await.unwrap();
    for token in [TOKEN, "another"] {
        other.authenticate(token).await.unwrap();
    }
    let scrape = published(&handle).await;
    assert_eq!(scrape.of("admitted_total"), 3.0);
    assert_eq!(scrape.of(r#"cache_entries{state="present"}"#), 3.0);
    one.authenticate(TOKEN).await.unwrap();
    drop(one);
    let scrape = Scrape::parse(&handle.render());
    assert_eq!(scrape.of("admitted_total"), 4.0, "with what it had not published yet");
    assert_eq!(scrape.of(r#"cache_entries{state="present"}"#), 2.0);
    let scrape = published(&handle).await;
    assert_eq!(scrape.of("admitted_total"), 4.0, "nothing is told twice");
    drop(other);
    let scrape = Scrape::parse(&handle.render());
    assert_eq!(scrape.of(r#"cache_entries{state="present"}"#), 0.0);
}

/// Seen to fail without the comparison of recorders in `Meter::publish`: the entries count from the
/// moment of the installation on, and nothing is described.
#[tokio::test(start_paused = true)]
async fn a_recorder_that_comes_late_hears_it_all() {
    let (auth, _) = scripted().await;
    for _ in 0..3 {
        auth.authenticate(TOKEN).await.unwrap();
    }
    time::sleep(Duration::from_secs(5)).await;
    let (recorder, handle) = exporter();
    let _local = set_default_local_recorder(&recorder);
    let scrape = published(&handle).await;
    assert_eq!(scrape.of("admitted_total"), 3.0);
    assert_eq!(scrape.of(r#"cache_entries{state="present"}"#), 1.0);
    assert!(scrape.help.contains_key("token_auth_admitted_total"));
}

#[test]
fn without_a_runtime_all_is_told_at_the_end() {
    let (recorder, handle) = exporter();
    let _local = set_default_local_recorder(&recorder);
    let auth = authenticator(Scripted::new());
    for _ in 0..3 {
        assert!(block_on(auth.authenticate("a guess")).is_err());
    }
    assert_eq!(Scrape::parse(&handle.render()).values.get("token_auth_refused_total"), None);
    drop(auth);
    let scrape = Scrape::parse(&handle.render());
    assert_eq!(scrape.of(r#"refused_total{kind="unknown"}"#), 3.0);
    assert_eq!(scrape.of(r#"cache_entries{state="absent"}"#), 0.0);
}

/// Seen to fail with a task that holds the authenticator itself.
#[tokio::test(start_paused = true)]
async fn the_task_ends_with_its_authenticator() {
    let store = Scripted::new();
    let builder = Authenticator::builder(store).last_used(LastUsed::Off);
    let (auth, _guard) = builder.build().unwrap();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 0, "building starts none");
    assert!(auth.authenticate("a guess").await.is_err());
    time::sleep(Duration::from_secs(60)).await;
    assert_eq!(tasks(), 1, "one, for good");
    drop(auth);
    time::sleep(Duration::from_secs(2)).await;
    assert_eq!(tasks(), 0);
}

/// Seen to fail without `Alive`'s `drop`: nobody publishes on the second runtime.
#[test]
fn a_runtime_that_ends_is_followed_by_another() {
    let (recorder, handle) = exporter();
    let _local = set_default_local_recorder(&recorder);
    let auth = authenticator(Scripted::new());
    for asked in 1..=3 {
        let runtime = current_thread();
        runtime.block_on(async {
            assert!(auth.authenticate(&format!("guess {asked}")).await.is_err());
            idle().await;
            let scrape = Scrape::parse(&handle.render());
            // The task's first word came while the request that started it was under way.
            let known = scrape.of(r#"cache_lookups_total{result="miss"}"#);
            assert_eq!(known, f64::from(asked));
        });
    }
}

/// Counts are complete whichever threads they come from; the threads' recorders hear nothing, as
/// only the last word is needed.
///
/// Seen to fail with the counts of one stripe alone summed up, and with all threads in one.
#[test]
fn hits_of_many_threads_are_all_counted() {
    let (recorder, handle) = exporter();
    let _local = set_default_local_recorder(&recorder);
    let (auth, _) = block_on(scripted());
    let begin = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                begin.wait();
                for _ in 0..25_000 {
                    assert!(block_on(auth.authenticate(TOKEN)).is_ok());
                }
            });
        }
    });
    drop(auth);
    assert_eq!(Scrape::parse(&handle.render()).of("admitted_total"), 100_000.0);
}

/// A recorder that panics at some series while it is told to, and counts how often it did.
struct Moody {
    recorder: PrometheusRecorder,
    at: &'static str,
    panics: Arc<AtomicBool>,
    panicked: Arc<AtomicUsize>,
}

impl Recorder for Moody {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.recorder.describe_counter(name, unit, text);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.recorder.describe_gauge(name, unit, text);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.recorder.describe_histogram(name, unit, text);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.panic_at(key);
        self.recorder.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.recorder.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.panic_at(key);
        self.recorder.register_histogram(key, metadata)
    }
}

impl Moody {
    fn panic_at(&self, key: &Key) {
        if self.panics.load(Ordering::SeqCst) && key.name().contains(self.at) {
            self.panicked.fetch_add(1, Ordering::SeqCst);
            // Silent, as it does not pass the panic hook.
            std::panic::resume_unwind(Box::new("a test said so"));
        }
    }
}

/// Seen to fail without the rest (a task is started at every request), with what was told noted at
/// the end of a publication (the first counters are told twice), and without `catch_unwind` in
/// `Inner`'s `drop`.
#[tokio::test(start_paused = true)]
async fn a_recorder_that_panics_is_left_alone_for_a_minute() {
    let (recorder, handle) = exporter();
    let (panics, panicked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let moody = Moody {
        recorder,
        at: "store_reads",
        panics: Arc::clone(&panics),
        panicked: Arc::clone(&panicked),
    };
    let _local = set_default_local_recorder(&moody);
    let (store, clock) = (Scripted::new(), ManualClock::at(long_ago()));
    let builder = Authenticator::builder(store).last_used(LastUsed::Off).clock(clock.clone());
    let (auth, _guard) = builder.build().unwrap();
    for asked in 0..3 {
        assert!(auth.authenticate(&format!("guess {asked}")).await.is_err());
        idle().await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "it has failed");
    }
    assert_eq!(panicked.load(Ordering::SeqCst), 1, "and rests");
    panics.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_secs(61));
    assert!(auth.authenticate("a guess").await.is_err());
    let scrape = published(&handle).await;
    assert_eq!(scrape.of(r#"cache_lookups_total{result="miss"}"#), 4.0);
    assert_eq!(scrape.of(r#"store_reads_total{outcome="absent"}"#), 4.0);
    // Dropping must not panic: it may be part of an unwinding, which would become an abort.
    panics.store(true, Ordering::SeqCst);
    drop(auth);
    assert_eq!(panicked.load(Ordering::SeqCst), 2);
}

/// A recorder that panics at each read: whoever shares a query is answered all the same, and a runtime may
/// end with a query under way, where each of its reads is dropped in the unwinding of the one before.
///
/// Seen to fail without `contain_panic` in `Lead::land`: the process aborts.
#[test]
fn a_recorder_that_panics_spoils_no_batch() {
    let panicked = Arc::new(AtomicUsize::new(0));
    let moody = Moody {
        recorder: exporter().0,
        at: "store_read_duration",
        panics: Arc::new(AtomicBool::new(true)),
        panicked: Arc::clone(&panicked),
    };
    let _local = set_default_local_recorder(&moody);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (auth, store) = runtime.block_on(async {
        let store = Scripted::new();
        for n in 0..6 {
            issue(&store, &format!("key-{n}")).await;
        }
        let builder = Authenticator::builder(store.clone()).max_in_flight(2);
        (builder.build().unwrap().0, store)
    });
    // The first occupies the one turn, and the other two go together after it.
    let ask_for = |numbers: [usize; 3]| {
        store.hold();
        runtime.block_on(async {
            let [first, others @ ..] = numbers.map(|n| format!("key-{n}"));
            let first = ask(&auth, first);
            idle().await;
            time::advance(Duration::from_secs(1)).await;
            let [second, third] = others.map(|token| ask(&auth, token));
            idle().await;
            [first, second, third]
        })
    };
    let asked = ask_for([0, 1, 2]);
    store.release();
    for decision in runtime.block_on(all(asked)) {
        assert!(decision.is_ok());
    }
    let sizes = || store.queries().iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(), [1, 2]);
    assert_eq!(panicked.load(Ordering::SeqCst), 3);
    let asked = ask_for([3, 4, 5]);
    runtime.block_on(async {
        time::advance(Duration::from_secs(1)).await;
        idle().await;
    });
    assert_eq!(asked.map(|asked| asked.is_finished()), [true, false, false]);
    assert_eq!(sizes(), [1, 2, 1, 2]);
    drop(runtime);
    assert_eq!(panicked.load(Ordering::SeqCst), 6);
}

/// The series are those of the first publication, whatever requests bring; the guide lists their
/// names, and no other; and all are named as Prometheus' conventions have it.
#[tokio::test(start_paused = true)]
async fn the_series_are_bounded_named_by_convention_and_all_in_the_guide() {
    let (recorder, handle) = exporter();
    let _local = set_default_local_recorder(&recorder);
    let (auth, store) = scripted().await;
    auth.authenticate(TOKEN).await.unwrap();
    let first = published(&handle).await;
    for number in 0..100 {
        let token = format!("key {number}").replace(' ', "-");
        issue(&store, &token).await;
        auth.authenticate(&token).await.unwrap();
        auth.authenticate(&format!("guess {number}")).await.unwrap_err();
        let owner = Owner::staff(format!("owner-{number}"));
        auth.keys().create(owner, NewKey::named(format!("key-{number}"))).await.unwrap();
    }
    let last = published(&handle).await;
    let series = |scrape: &Scrape| scrape.values.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(series(&first), series(&last));
    for kind in RejectionKind::ALL {
        assert_eq!(kind as usize, RejectionKind::ALL.iter().position(|k| *k == kind).unwrap());
        let _ = last.of(&format!("refused_total{{kind=\"{kind}\"}}"));
    }

    let guide = include_str!("../../src/guide/metrics.md");
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let named = guide.split(|c| !is_name(c)).filter(|word| word.starts_with("token_auth_"));
    let known: BTreeSet<&str> = last.types.keys().map(String::as_str).collect();
    assert_eq!(named.collect::<BTreeSet<_>>(), known);
    for (name, kind) in &last.types {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert_eq!(kind == "histogram", name.ends_with("_seconds"), "{name} is a {kind}");
        assert!(last.help.contains_key(name), "{name} is not described");
        let row = guide.lines().find(|line| line.starts_with(&format!("| `{name}`")));
        assert!(row.is_some_and(|row| row.contains(&format!("| {kind} |"))), "{name}: {row:?}");
    }
}
