//! Draws cases and runs them, on every core.

use std::{
    env,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    backend::Backend,
    draw,
    model::Complaint,
    shorten::shorten,
    step::{Setting, Step},
    world::{self, Tally},
};

/// How many steps a case has.
const STEPS: usize = 50;

/// How many threads there are for each core: a store with threads of its own lets them wait.
const THREADS: usize = 2;

/// Runs so many cases; on a failure, panics with the shortest steps that were found to fail.
pub fn hold<B: Backend>(share: usize, all: usize) {
    let is_full = env::var_os("TOKEN_AUTH_FULL").is_some_and(|value| value == "1");
    let cases = if is_full { all } else { share };
    let cases = env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    // The share is the same at every run, so that a change is not blamed for what another one has
    // left to be found; all of them are drawn anew.
    let seed = env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| if is_full { random() } else { 1 });
    let from = env::var("FROM").ok().and_then(|from| from.parse().ok()).unwrap_or(1);
    let run = Run {
        seed,
        end: from + cases,
        next: AtomicUsize::new(from),
        tally: Mutex::default(),
        first: Mutex::default(),
    };
    let (cores, begun) = (thread::available_parallelism().map_or(1, usize::from), now());
    thread::scope(|scope| {
        for _ in 0..THREADS * cores {
            scope.spawn(|| run.go::<B>());
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    if let Some(failure) = run.first.into_inner().unwrap() {
        panic!("SEED={seed} FROM={}", failure.shortened::<B>());
    }
    println!("{}: {cases} of {all} cases of {STEPS} steps, seed {seed}: {seconds:.1} s", B::NAME);
    let Tally { steps, actions, decisions, admissions, reads, asked, made, lost } =
        run.tally.into_inner().unwrap();
    println!("  {steps} steps of {actions} actions; {asked} changes, {made} made, {lost} lost;");
    println!("  {decisions} decisions, {admissions} of them admissions; {reads} reads");
}

/// What all threads together do.
struct Run {
    seed: u64,
    /// The number of the next case, and the one behind the last.
    next: AtomicUsize,
    end: usize,
    tally: Mutex<Tally>,
    /// Of those that failed the one with the lowest number.
    first: Mutex<Option<Failure>>,
}

struct Failure {
    number: usize,
    setting: Setting,
    steps: Vec<Step>,
    complaint: Complaint,
}

impl Run {
    fn go<B: Backend>(&self) {
        let (drawing, mut backend) = (draw::case(STEPS), B::new());
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.end || self.first.lock().unwrap().is_some() {
                return;
            }
            let (setting, steps) = drawing.new_tree(&mut self.source(number)).unwrap().current();
            match run_one(&mut backend, &setting, &steps) {
                Ok(tally) => add(&mut self.tally.lock().unwrap(), tally),
                Err(complaint) => {
                    println!("{} case {number} fails: {complaint}", B::NAME);
                    let failure = Failure { number, setting, steps, complaint };
                    let mut first = self.first.lock().unwrap();
                    if first.as_ref().is_none_or(|first| number < first.number) {
                        *first = Some(failure);
                    }
                }
            }
        }
    }

    /// What a case is drawn from: it is the same, whichever thread draws it.
    fn source(&self, number: usize) -> TestRunner {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&(number as u64).to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        TestRunner::new_with_rng(Config::default(), rng)
    }
}

impl Failure {
    fn shortened<B: Backend>(self) -> String {
        let Self { number, setting, steps, complaint } = self;
        let (setting, steps, complaint) = shorten(&mut B::new(), setting, steps, complaint);
        let steps: String = steps.iter().map(|step| format!("\n            {step:?},")).collect();
        format!(
            "{number}, {}: {complaint}\n\nAs a regression test:\n\n#[test]\nfn it_does_not() \
             {{\n    holds(\n        {setting:?},\n        &[{steps}\n        ],\n    );\n}}\n",
            B::NAME,
        )
    }
}

/// Takes the steps of one case.
pub fn replay<B: Backend>(setting: &Setting, steps: &[Step]) -> Result<Tally, Complaint> {
    run_one(&mut B::new(), setting, steps)
}

pub(crate) fn run_one<B: Backend>(
    backend: &mut B,
    setting: &Setting,
    steps: &[Step],
) -> Result<Tally, Complaint> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(world::run(backend, setting, steps))
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
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}
