//! The same over loopback: a server process for each contender, and the load from this one.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::ClockId,
    unistd::Pid,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    task::JoinSet,
};

use crate::{
    Effort,
    contender::{Contender, PATH},
    contenders,
    in_process::alone,
    setting::Setting,
    statistics::ratio_of_medians,
    table::{Table, interval},
    time::stopwatch,
};

/// The argument by which this program is a server.
pub(crate) const SERVE: &str = "serve";

const CONNECTIONS: [usize; 2] = [1, 32];
const ROUNDS: usize = 25;
/// How long one contender is asked in one round, after a fifth of it to get warm.
const SPAN: Duration = Duration::from_millis(250);

type Connection = SendRequest<Empty<Bytes>>;

/// Serves one contender until standard input ends, as it does when the other process does.
pub(crate) fn serve(name: &str) -> ExitCode {
    keep_to(Half::Upper);
    let setting = Setting::prepare();
    let _inside = setting.runtime.enter();
    let contenders = contenders::all(&setting);
    let Some(contender) = contenders.into_iter().find(|contender| contender.name == name) else {
        return ExitCode::FAILURE;
    };
    setting.runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let credential = contender.credentials.good.to_str().expect("a token is ASCII");
        println!("{address}\t{credential}");
        // In a task, so that the runtime's own thread does the work, as it would with many.
        tokio::spawn(async { axum::serve(listener, contender.app).await });
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = ended.await;
    });
    ExitCode::SUCCESS
}

pub(crate) fn report(_: &Setting, contenders: &[Contender], effort: Effort) -> String {
    // On a thread of its own, as it will keep to its cores.
    thread::scope(|scope| scope.spawn(|| measure(contenders, effort)).join().expect("no panic"))
}

fn measure(contenders: &[Contender], effort: Effort) -> String {
    let client = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let span = if effort == Effort::Smoke { SPAN / 10 } else { SPAN };
    let mut servers: Vec<_> =
        contenders.iter().map(|contender| client.block_on(Server::start(contender.name))).collect();
    // After the servers, which would inherit it.
    keep_to(Half::Lower);
    let mut page = String::new();
    for connections in CONNECTIONS {
        let mut rates = vec![Vec::new(); servers.len()];
        let mut costs = rates.clone();
        for round in 0..effort.rounds(ROUNDS) {
            // Each server takes each place in turn.
            for place in 0..servers.len() {
                let at = (round + place) % servers.len();
                client.block_on(servers[at].load(connections, span / 5));
                let load = client.block_on(servers[at].load(connections, span));
                rates[at].push(load.requests / load.elapsed.as_secs_f64());
                costs[at].push(load.cpu.as_secs_f64() * 1e6 / load.requests);
            }
        }
        page.push_str(&tell(connections, contenders, &rates, &costs));
    }
    page
}

fn tell(
    connections: usize,
    contenders: &[Contender],
    rates: &[Vec<f64>],
    costs: &[Vec<f64>],
) -> String {
    let plural = if connections == 1 { "" } else { "s" };
    let mut table = Table::new(
        &format!("Over loopback, HTTP/1.1, {connections} connection{plural}"),
        &["", "requests/s", "times the bare", "server's CPU, µs a request", "times the bare"],
    );
    for (at, contender) in contenders.iter().enumerate() {
        table.row(&[
            contender.name,
            &format!("{:.0}", alone(&rates[at]).value),
            &interval(ratio_of_medians(&rates[at], &rates[0]), 3),
            &format!("{:.2}", alone(&costs[at]).value),
            &interval(ratio_of_medians(&costs[at], &costs[0]), 3),
        ]);
    }
    table.finish()
}

/// A contender in a process of its own, and connections to it. Ends with it.
struct Server {
    process: Child,
    clock: ClockId,
    request: Request<Empty<Bytes>>,
    connections: Vec<Connection>,
}

struct Load {
    requests: f64,
    elapsed: Duration,
    /// The time of processors that the server took, all of its threads together.
    cpu: Duration,
}

impl Server {
    async fn start(name: &str) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command.args([SERVE, name]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("this program can be started");
        let pid = Pid::from_raw(i32::try_from(process.id()).expect("a process id is an i32"));
        let mut line = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("the server tells its address");
        let (address, credential) = line.trim_end().split_once('\t').expect("address, credential");
        let request = Request::get(PATH)
            .header(header::HOST, address)
            .header(header::USER_AGENT, "rivals/1.0")
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, credential)
            .body(Empty::new())
            .expect("the request is well formed");
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS.into_iter().max().unwrap_or(1) {
            connections.push(connect(address).await);
        }
        let clock = ClockId::pid_cpu_clock_id(pid).expect("a process has a clock");
        Self { process, clock, request, connections }
    }

    /// Asks over so many connections, each with one request at a time, for about this long.
    async fn load(&mut self, connections: usize, span: Duration) -> Load {
        let (cpu, begun) = (self.cpu(), stopwatch());
        let mut asking = JoinSet::new();
        for mut connection in self.connections.drain(..connections) {
            let request = self.request.clone();
            asking.spawn(async move {
                let mut answered = 0_u32;
                while begun.elapsed() < span {
                    ask(&mut connection, request.clone()).await;
                    answered += 1;
                }
                (connection, answered)
            });
        }
        let mut requests = 0.0;
        while let Some(done) = asking.join_next().await {
            let (connection, answered) = done.expect("no connection fails");
            self.connections.push(connection);
            requests += f64::from(answered);
        }
        Load { requests, elapsed: begun.elapsed(), cpu: self.cpu() - cpu }
    }

    fn cpu(&self) -> Duration {
        self.clock.now().expect("the server lives").into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The cores of one side.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Lower,
    Upper,
}

/// Keeps this thread, and those that it is yet to start, to one half of the cores: else the two sides meet
/// on one core at times and not at others, and a figure tells which more than anything.
fn keep_to(half: Half) {
    let this = Pid::from_raw(0);
    let all = sched_getaffinity(this).expect("a thread knows its cores");
    let cores: Vec<_> =
        (0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap_or(false)).collect();
    let (lower, upper) = cores.split_at(cores.len() / 2);
    let kept = if half == Half::Lower { lower } else { upper };
    let mut set = CpuSet::new();
    for core in kept {
        set.set(*core).expect("a core of the set");
    }
    // On a single core both stay where they are.
    if !lower.is_empty() {
        sched_setaffinity(this, &set).expect("these cores were there just now");
    }
}

async fn connect(address: &str) -> Connection {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("an open connection");
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

async fn ask(connection: &mut Connection, request: Request<Empty<Bytes>>) {
    connection.ready().await.expect("an open connection");
    let response = connection.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK, "every request is admitted");
    response.into_body().collect().await.expect("a whole answer");
}
