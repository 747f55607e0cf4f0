//! G5: what the layer costs axum over HTTP on the loopback interface.
//!
//! Two servers, one of them without the layer, and a load generator, each a process of its own. The
//! load goes to one server and the other in turns. All three are this very program.

mod load;
mod server;

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use crate::{
    Effort, print,
    statistics::{Estimate, median, median_of_ratios},
};

/// Of the server's processor time for a request.
const GOAL: f64 = 1.03;
/// Of the requests a second.
const GOAL_RATE: f64 = 0.98;
const ROUNDS: usize = 60;
const ROUND: Duration = Duration::from_millis(400);
const CONNECTIONS: usize = 32;

/// What a process that is started anew is to be.
const PART: &str = "TOKEN_AUTH_LOOPBACK";
/// What its answers begin with.
const ANSWER: &str = "loopback: ";

pub(crate) fn report(effort: Effort) {
    let (rounds, span) = match effort {
        Effort::Smoke => (3, Duration::from_millis(30)),
        Effort::Full | Effort::Long => (ROUNDS, ROUND),
    };
    let mut servers = ["bare", "layer"].map(|part| {
        let mut server = Part::start(part);
        let port = server.answer();
        (server, port)
    });
    if servers[0].0.processor_time().is_none() {
        println!("    G5 is left out: this system does not tell a process's time by its threads");
        return;
    }
    let mut load = Part::start("load");
    for (_, port) in &servers {
        load.order(&format!("{port} {}", span.as_millis()));
        load.answer();
    }
    let [mut costs, mut rates] = [const { [const { Vec::new() }; 2] }; 2];
    for round in 0..rounds {
        for at in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (server, port) = &mut servers[at];
            let before = server.processor_time().unwrap_or_default();
            load.order(&format!("{port} {}", span.as_millis()));
            let answer = load.answer();
            let spent = server.processor_time().unwrap_or_default().saturating_sub(before);
            let (requests, nanos) = answer.split_once(' ').expect("two numbers");
            let [requests, nanos] = [requests, nanos].map(|n| n.parse::<f64>().expect("a number"));
            costs[at].push(spent.as_nanos() as f64 / requests);
            rates[at].push(requests / nanos * 1e9);
        }
    }
    let cost = median_of_ratios(&costs[1], &costs[0]);
    print("G5", cost, &format!("<= {GOAL:.2} of the time"), cost.value <= GOAL, 3);
    let rate = median_of_ratios(&rates[1], &rates[0]);
    let Estimate { high, .. } = rate;
    print("G5", rate, &format!(">= {GOAL_RATE:.2} of the requests"), high >= GOAL_RATE, 3);
    for (name, at) in [("without the layer", 0), ("with the layer", 1)] {
        println!(
            "    {name:<18} {:>6.2} us of the server's processor time for a request, {:>6.0} requests a \
             second, {CONNECTIONS} connections",
            median(&mut costs[at]) / 1e3,
            median(&mut rates[at]),
        );
    }
}

/// Does what it is told, if this process was started for it; whether it was.
pub(crate) fn serve() -> bool {
    match env::var(PART).as_deref() {
        Ok("load") => load::run(),
        Ok(part @ ("bare" | "layer")) => server::run(part == "layer"),
        _ => return false,
    }
    true
}

/// One of the processes, as the one that started them sees it. It is killed with this.
struct Part {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Part {
    fn start(part: &str) -> Self {
        let program = env::current_exe().expect("this program's path");
        let mut child = Command::new(program)
            .env(PART, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, orders, answers }
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("it listens");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a line");
        line.trim_end().strip_prefix(ANSWER).expect("an answer").to_owned()
    }

    /// How long its threads were on a processor, to the nanosecond; `None` where only Linux tells.
    fn processor_time(&self) -> Option<Duration> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let mut nanos = 0;
        for thread in threads {
            let told = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            nanos += told.split(' ').next()?.parse::<u64>().ok()?;
        }
        Some(Duration::from_nanos(nanos))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
