//! Measures the performance goals and prints one line for each:
//!
//! ```text
//! cargo bench --bench report --features full            # every goal
//! cargo bench --bench report --features full -- G1 G4   # some
//! ```
//!
//! `G1  0.27  goal <= 0.30  met   [0.25, 0.29]`: the value, the goal, the verdict, and the value's
//! 95 % interval. The details of it stand below, behind blanks. What is compared is measured interleaved in
//! this one run, so that the ratios hold on a machine that is busy or slow.
//!
//! G7 needs a PostgreSQL server, which TEST_DATABASE_URL names. `outage` starts and stops one of its own.
//!
//! `growth` prints tables in the place of a goal. `one-hit CONTENDER COUNT` serves requests for a
//! profiler, as `benches/profile.sh` has it.
//!
//! `--smoke` takes a few rounds only: it shows that the report runs, not how fast anything is. Its outage
//! lasts 8 s, and 60 s otherwise.
//! `--long` measures G10 with ten times as many tokens.

#![allow(unreachable_pub, reason = "the Criterion benches export the same contenders")]

mod allocations;
mod cold;
mod contenders;
mod distinct;
mod elsewhere;
mod everything;
mod fleet;
mod flood;
mod floor;
mod fronts;
mod growth;
mod hit;
mod loopback;
mod machine;
mod memory;
mod one_hit;
mod outage;
mod processes;
mod setting;
mod sha512;
mod statistics;
mod threads;
mod timing;
mod uniform;
mod uses;

use std::{env, process::ExitCode};

use statistics::Estimate;

/// A goal: its name, and what measures and prints it.
type Goal = (&'static str, fn(Effort));

const GOALS: [Goal; 15] = [
    ("G1", hit::report),
    ("G2", sha512::report),
    ("G3", threads::report),
    ("G4", allocations::report),
    ("G5", loopback::report),
    ("G6", cold::report),
    ("G7", distinct::report),
    ("G8", memory::report),
    ("G9", uses::report),
    ("G10", flood::report),
    ("G11", uniform::report),
    ("growth", growth::report),
    ("I4", elsewhere::report),
    ("fleet", fleet::report),
    ("outage", outage::report),
];

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Long,
    Full,
    Smoke,
}

impl Effort {
    pub(crate) fn rounds(self, full: usize) -> usize {
        match self {
            Self::Long | Self::Full => full,
            Self::Smoke => 3,
        }
    }
}

fn main() -> ExitCode {
    // As another process of G5 it does as it is told, and nothing else.
    if loopback::serve() {
        return ExitCode::SUCCESS;
    }
    // So as one of I4.
    let serves = async { elsewhere::other::serve().await || elsewhere::nodes::serve().await };
    if elsewhere::runtime().block_on(serves) {
        return ExitCode::SUCCESS;
    }
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    match arguments.next().as_deref() {
        Some("one-hit") => {
            return one_hit::run(arguments.next().as_deref(), arguments.next().as_deref());
        }
        Some(processes::ARGUMENT) => {
            return processes::run(arguments.next().as_deref(), arguments.next().as_deref());
        }
        _ => {}
    }
    let mut effort = Effort::Full;
    let mut chosen = Vec::new();
    for argument in env::args().skip(1) {
        match argument.as_str() {
            // Cargo passes it to every benchmark.
            "--bench" => {}
            "--smoke" => effort = Effort::Smoke,
            "--long" => effort = Effort::Long,
            name => match GOALS.iter().find(|goal| goal.0 == name) {
                Some(goal) => chosen.push(*goal),
                None => {
                    let known = GOALS.map(|goal| goal.0).join(" ");
                    eprintln!("report: no goal is called `{name}`; there are: {known}");
                    return ExitCode::FAILURE;
                }
            },
        }
    }
    let goals = if chosen.is_empty() { GOALS.to_vec() } else { chosen };
    machine::print();
    for (_, report) in goals {
        report(effort);
    }
    ExitCode::SUCCESS
}

/// Prints a goal's line.
pub(crate) fn print(goal: &str, value: Estimate, bound: &str, met: bool, digits: usize) {
    let Estimate { value, low, high } = value;
    let verdict = if met { "met" } else { "short" };
    println!(
        "{goal}  {value:.digits$}  goal {bound}  {verdict:<5} [{low:.digits$}, {high:.digits$}]"
    );
}
