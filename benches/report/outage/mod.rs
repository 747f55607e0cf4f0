//! I7 and I8 on PostgreSQL: a server of its own that is down for a minute under load. Who is served
//! meanwhile, how often it is asked in vain, and how soon it is used again.

mod answers;
mod node;
#[allow(dead_code, clippy::unwrap_used, reason = "the tests make use of all of it, in their way")]
#[path = "../../../tests/it/support/server.rs"]
mod server;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};
use tokio::{sync::watch, task::spawn_blocking, time};
use tower_token_auth::{PostgresStore, store::RevocationChannel};

use self::{
    answers::{Outcome, Times},
    node::{Node, Phase, fill},
    server::Server,
};
use crate::{Effort, elsewhere::runtime, print, statistics::Estimate};

/// Requests that are under way at once, to each of two nodes.
const CLIENTS: u64 = 64;
/// Between two requests of a client: what is shown is who is served, not how fast.
const PAUSE: Duration = Duration::from_millis(10);
/// Of the clients, those that ask for cold keys: while a read is waited for, they ask for nothing else.
const COLD: u64 = 16;
/// The first one is the long one, the others tell how recovery varies.
const OUTAGES: usize = 4;
const SHORTER: Duration = Duration::from_secs(10);
/// What the breaker lets through, and how many reads may be under way before it opens.
const PROBES_A_SECOND: u64 = 2;
const IN_FLIGHT: u64 = 64;
/// Failures that open it: their turns may have been taken by others by then.
const TO_OPEN: u64 = 3;
/// Of our own feed, as it comes: how long it may take to be known as down.
const NOTICED: Duration = Duration::from_secs(5);
const RECOVERY: Duration = Duration::from_secs(1);
/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long everything takes.
#[derive(Clone, Copy)]
struct Spans {
    down: Duration,
    /// Of the node with our own feed, from the moment its feed is known to be down.
    short_ttl: Duration,
    /// Of the other one.
    fresh_ttl: Duration,
    stale: Duration,
}

impl Spans {
    fn of(effort: Effort) -> Self {
        let secs = Duration::from_secs;
        if effort == Effort::Smoke {
            return Self { down: secs(8), short_ttl: secs(2), fresh_ttl: secs(2), stale: secs(3) };
        }
        Self { down: secs(60), short_ttl: secs(5), fresh_ttl: secs(10), stale: secs(30) }
    }
}

pub(crate) fn report(effort: Effort) {
    let Some(server) = Server::start() else { return };
    let (server, spans) = (Arc::new(server), Spans::of(effort));
    let outages = if effort == Effort::Smoke { 1 } else { OUTAGES };
    let outcomes = runtime().block_on(measure(&server, spans, outages));
    let of_all = || outcomes.iter().flat_map(|(_, of_nodes)| of_nodes);
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let (low, high) = of_all()
        .map(|outcome| millis(outcome.recovery))
        .fold((f64::INFINITY, 0.0_f64), |(low, high), millis| (low.min(millis), high.max(millis)));
    let recovery = Estimate { value: high, low, high };
    print("outage", recovery, "<= 1000 ms to recover", high <= millis(RECOVERY), 0);
    let bound = PROBES_A_SECOND * spans.down.as_secs() + IN_FLIGHT + TO_OPEN;
    let [own, foreign] = [0, 1].map(|node: usize| outcomes[0].1[node].reads);
    let (most, least) = (own.max(foreign) as f64, own.min(foreign) as f64);
    let reads = Estimate { value: most, low: least, high: most };
    let goal = format!("<= {bound} reads tried in {:?}", spans.down);
    print("outage", reads, &goal, most <= bound as f64, 0);
    let wrong: Vec<&String> = of_all().flat_map(|outcome| &outcome.wrong).collect();
    let count = wrong.len() as f64;
    let counted = Estimate { value: count, low: count, high: count };
    print("outage", counted, "= 0 wrong answers", wrong.is_empty(), 0);
    for wrong in wrong.iter().take(5) {
        println!("    wrong: {wrong}");
    }
    tell(spans, &outcomes);
}

fn tell(spans: Spans, outcomes: &[(Duration, [Outcome; 2])]) {
    let Spans { short_ttl, fresh_ttl, stale, .. } = spans;
    println!(
        "    {CLIENTS} clients of each of two nodes, {COLD} of them with cold keys; each asks again {PAUSE:?} \
         after an answer"
    );
    println!(
        "    own: our own feed, short TTL {short_ttl:?}; foreign: another healthy feed, fresh TTL \
         {fresh_ttl:?}, stale-if-error {stale:?}"
    );
    println!("    a second of the outage: admitted, 503, others; own, then foreign");
    let (_, [own, foreign]) = &outcomes[0];
    for (second, (own, foreign)) in own.seconds.iter().zip(&foreign.seconds).enumerate() {
        let ([a, b, c], [d, e, f]) = (own, foreign);
        println!("    {second:>4}  {a:>6} {b:>6} {c:>3}   {d:>6} {e:>6} {f:>3}");
    }
    for (down, of_nodes) in outcomes {
        for (name, outcome) in ["own", "foreign"].iter().zip(of_nodes) {
            println!(
                "    down for {down:?}, {name}: the last admission {:.2?} behind the stop, {} reads tried, \
                 a cold key admitted {:.0?} behind the first connection",
                outcome.last, outcome.reads, outcome.recovery
            );
        }
    }
}

async fn measure(
    server: &Arc<Server>,
    spans: Spans,
    outages: usize,
) -> Vec<(Duration, [Outcome; 2])> {
    let store = PostgresStore::open(&server.url()).await.expect("the server is there");
    fill(&server.url()).await;
    let own = Node::new(&store, |builder| {
        let builder = builder.feed(store.feed()).short_ttl(spans.short_ttl);
        builder.fresh_ttl(Duration::from_secs(3_600))
    });
    let channel = RevocationChannel::new(16);
    let foreign = Node::new(&store, |builder| {
        builder.feed(channel.feed()).fresh_ttl(spans.fresh_ttl).stale_if_error(spans.stale)
    });
    let mut outcomes = Vec::with_capacity(outages);
    for outage in 0..outages {
        let down = if outage == 0 { spans.down } else { SHORTER };
        let nodes = [&own, &foreign];
        let warming = now();
        for node in nodes {
            node.warm().await;
        }
        let (phase, _) = watch::channel(Phase::Before);
        let phase = Arc::new(phase);
        let clients: Vec<_> = nodes
            .iter()
            .map(|node| (0..CLIENTS).map(|client| node.client(client, &phase)).collect::<Vec<_>>())
            .collect();
        time::sleep(Duration::from_secs(1)).await;
        let stopping = now();
        turn(server, Server::stop).await;
        let stopped = now();
        let reads = nodes.map(|node| node.reads.load(Ordering::Relaxed));
        phase.send_replace(Phase::Since);
        time::sleep(down).await;
        let again = now();
        let tried = nodes.map(|node| node.reads.load(Ordering::Relaxed));
        let url = server.url();
        let (up, ()) = tokio::join!(first_connection(&url), turn(server, Server::again));
        for node in nodes {
            node.recovered().await;
        }
        phase.send_replace(Phase::After);
        let mut of_nodes = Vec::new();
        for (place, clients) in clients.into_iter().enumerate() {
            let mut answers = Vec::new();
            for client in clients {
                answers.extend(client.await.expect("no client panics"));
            }
            let Spans { short_ttl, fresh_ttl, stale, .. } = spans;
            let served = if place == 0 {
                stopping + short_ttl..stopped + NOTICED + short_ttl
            } else {
                warming + fresh_ttl + stale..stopped + fresh_ttl + stale
            };
            let times = Times { stopping, stopped, again, up, served };
            let outcome = times.outcome(&answers, tried[place] - reads[place]);
            of_nodes.push(outcome);
        }
        let of_nodes = of_nodes.try_into().unwrap_or_else(|_| unreachable!("there are two"));
        outcomes.push((down, of_nodes));
    }
    outcomes
}

/// When the server first let somebody in.
async fn first_connection(url: &str) -> Instant {
    let connect: PgConnectOptions = url.parse().expect("a URL");
    let connected = async {
        while connect.connect().await.is_err() {
            time::sleep(Duration::from_millis(1)).await;
        }
        now()
    };
    time::timeout(PATIENCE, connected).await.expect("it starts")
}

async fn turn(server: &Arc<Server>, turn: fn(&Server)) {
    let server = Arc::clone(server);
    spawn_blocking(move || turn(&server)).await.expect("its programs do as they are told");
}

#[expect(clippy::disallowed_methods, reason = "a measurement is of real time")]
fn now() -> Instant {
    Instant::now()
}
