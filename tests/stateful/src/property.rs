//! Draws cases and runs them, on every core.

use std::{
    env,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::{
    backend::Backend,
    draw,
    model::Complaint,
    step::{Setting, Step},
    world::{self, Tally},
};

/// How many steps a case has.
const STEPS: usize = 50;

/// Runs so many cases; on a failure, panics with the shortest steps that were found to fail.
pub fn hold<B: Backend>(share: usize, all: usize) {
    let is_full = env::var_os("TOKEN_AUTH_FULL").is_some_and(|value| value == "1");
    let cases = if is_full { all } else { share };
    let cases = env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    // The share is the same at every run, so that a change is not blamed for what another one has
    // left to be found; all of them are drawn anew.
    let seed = env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| if is_full { random() } else { 1 });
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let begun = now();
    let (sum, found) = (Mutex::new(Tally::default()), Mutex::new(None));
    let progress = Progress::default();
    thread::scope(|scope| {
        for number in 0..threads {
            let cases = cases / threads + usize::from(number < cases % threads);
            let (sum, found, progress) = (&sum, &found, &progress);
            scope.spawn(move || {
                let seed = seed ^ (number as u64) << 48;
                if let Err(failure) = run_many::<B>(cases, seed, sum, progress) {
                    found.lock().unwrap().get_or_insert(failure);
                }
            });
        }
    });
    let tally = sum.into_inner().unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    if let Some(failure) = found.into_inner().unwrap() {
        panic!("SEED={seed} {failure}");
    }
    println!("{}: {cases} of {all} cases of {STEPS} steps, seed {seed}: {seconds:.1} s", B::NAME);
    let Tally { steps, actions, decisions, admissions, reads, asked, made, lost } = tally;
    println!("  {steps} steps of {actions} actions; {asked} changes, {made} made, {lost} lost;");
    println!("  {decisions} decisions, {admissions} of them admissions; {reads} reads");
}

/// How far all threads together have come.
#[derive(Default)]
struct Progress {
    cases: AtomicUsize,
    /// Whether a case has failed.
    is_over: AtomicBool,
}

/// Takes the steps of one case.
pub fn replay<B: Backend>(setting: &Setting, steps: &[Step]) -> Result<Tally, Complaint> {
    run_one(&mut B::new(), setting, steps)
}

fn run_one<B: Backend>(
    backend: &mut B,
    setting: &Setting,
    steps: &[Step],
) -> Result<Tally, Complaint> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(world::run(backend, setting, steps))
}

fn run_many<B: Backend>(
    cases: usize,
    seed: u64,
    sum: &Mutex<Tally>,
    progress: &Progress,
) -> Result<(), String> {
    let config = Config {
        cases: cases.try_into().expect("fewer than 2^32 cases"),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let mut bytes = [1; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let backend = std::cell::RefCell::new(B::new());
    let failed_at = std::cell::Cell::new(None);
    let outcome = runner.run(&draw::case(STEPS), |(setting, steps)| {
        let is_first_run = failed_at.get().is_none();
        if is_first_run && progress.is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        let number = progress.cases.fetch_add(usize::from(is_first_run), Ordering::Relaxed) + 1;
        match run_one(&mut *backend.borrow_mut(), &setting, &steps) {
            Ok(tally) if is_first_run => add(&mut sum.lock().unwrap(), tally),
            Ok(_) => {}
            Err(complaint) => {
                failed_at.set(failed_at.get().or(Some(number)));
                progress.is_over.store(true, Ordering::Relaxed);
                return Err(TestCaseError::fail(complaint));
            }
        }
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(complaint, (setting, steps))) => {
            let steps: String =
                steps.iter().map(|step| format!("\n            {step:?},")).collect();
            Err(format!(
                "{} case {}: {complaint}\n\nAs a regression test:\n\n#[test]\nfn it_does_not() {{\n    \
                 holds(\n        {setting:?},\n        &[{steps}\n        ],\n    );\n}}\n",
                B::NAME,
                failed_at.get().unwrap_or_default(),
            ))
        }
        Err(TestError::Abort(reason)) => Err(format!("no cases could be drawn: {reason}")),
    }
}

fn add(sum: &mut Tally, more: Tally) {
    sum.steps += more.steps;
    sum.actions += more.actions;
    sum.decisions += more.decisions;
    sum.admissions += more.admissions;
    sum.reads += more.reads;
    sum.asked += more.asked;
    sum.made += more.made;
    sum.lost += more.lost;
}

/// A seed for once.
fn random() -> u64 {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(())
}

#[expect(clippy::disallowed_methods, reason = "it says how long it took")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
