//! One measurement in several processes.
//!
//! Where stack and heap come to lie is drawn anew in each process, and moves a hit by some percent, this
//! way or that: one process alone would always tell the same, with an interval that means nothing.

use std::{
    env,
    process::{Command, ExitCode},
};

use crate::{
    Effort, hit, print, sha512,
    statistics::{median, median_of_ratios},
    timing::line,
};

/// Of an odd number of them one is in the middle.
const PROCESSES: usize = 9;
/// The argument by which a process knows that it is one of them.
pub(crate) const ARGUMENT: &str = "costs-of";

/// What was measured, by its name: nanoseconds, of one process or of each.
pub(crate) type Costs<T = f64> = Vec<(String, T)>;

/// What of a goal's is measured in each process.
fn measure(goal: &str, effort: Effort) -> Option<Costs> {
    match goal {
        "G1" => Some(hit::costs(effort)),
        "G2" => Some(sha512::costs(effort)),
        _ => None,
    }
}

/// Measures, and tells the process that asked for it.
pub(crate) fn run(goal: Option<&str>, effort: Option<&str>) -> ExitCode {
    let effort = if effort == Some("smoke") { Effort::Smoke } else { Effort::Full };
    let Some(costs) = measure(goal.unwrap_or_default(), effort) else {
        eprintln!("report: {ARGUMENT} G1|G2 smoke|full");
        return ExitCode::FAILURE;
    };
    for (name, nanos) in costs {
        println!("{nanos}\t{name}");
    }
    ExitCode::SUCCESS
}

/// Prints a goal that is a share: `part` of `whole`, at most `goal`.
pub(crate) fn report(name: &str, effort: Effort, [part, whole]: [&str; 2], goal: f64) {
    let costs = costs(name, effort);
    let ratio = median_of_ratios(of(&costs, part), of(&costs, whole));
    print(name, ratio, &format!("<= {goal:.2}"), ratio.value <= goal, 2);
    for (name, nanos) in costs {
        line(&name, nanos);
    }
}

/// What each of the processes tells, by name.
fn costs(goal: &str, effort: Effort) -> Costs<Vec<f64>> {
    let (processes, effort) = match effort {
        Effort::Smoke => (3, "smoke"),
        Effort::Full | Effort::Long => (PROCESSES, "full"),
    };
    let mut all: Costs<Vec<f64>> = Vec::new();
    for _ in 0..processes {
        let program = env::current_exe().expect("this program's path");
        let told = Command::new(program).args([ARGUMENT, goal, effort]).output();
        let told = told.expect("this program starts again");
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        let told = String::from_utf8(told.stdout).expect("it is this program's");
        for (at, line) in told.lines().enumerate() {
            let (nanos, name) = line.split_once('\t').expect("a figure and its name");
            if at == all.len() {
                all.push((name.to_owned(), Vec::new()));
            }
            all[at].1.push(nanos.parse().expect("a figure"));
        }
    }
    all
}

/// Of one process.
pub(crate) fn cost(name: &str, mut nanos: Vec<f64>) -> (String, f64) {
    (name.to_owned(), median(&mut nanos))
}

/// What was measured under this name.
fn of<'a>(costs: &'a Costs<Vec<f64>>, name: &str) -> &'a [f64] {
    let found = costs.iter().find(|(its, _)| its == name);
    &found.expect("every process tells it").1
}
