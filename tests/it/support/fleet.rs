//! Three nodes on one PostgreSQL, each a process of its own: this very program, started anew. What one
//! revokes, the other two are asked for until they refuse it.
//!
//! A node reads one order a line and answers each with one line. Times are told by the wall clock, which the
//! processes of a machine share.

use std::{
    env,
    fmt::Write as _,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, PgConnection,
    postgres::{PgConnectOptions, PgListener},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    runtime::Handle,
    task::JoinHandle,
};
use tower_token_auth::{
    ApiKey, Authenticator, KeyId, Owner, PostgresStore, Rotation, Token, TokenDigest,
    store::{KeyRepository as _, KeyStore as _},
};

use super::revocations::{Latencies, healthy};

/// The server and the schema, for a process that is to be a node.
const DATABASE: &str = "TOKEN_AUTH_FLEET";
/// What its answers begin with: a test's own program prints more than those.
const ANSWER: &str = "node: ";
/// Within which a revocation holds whatever happens.
const LONGEST: Duration = Duration::from_secs(10);
const NODES: usize = 3;

/// Every kind of revocation there is, as orders to a node.
const KINDS: [&str; 6] = [
    "deactivate ID",
    "delete ID",
    // Which no manager does: an expiry that is given lies in the future.
    "sql UPDATE token_auth_keys SET expires_at = now() WHERE key_id = 'ID'",
    "rotate ID",
    "deactivate-owner OWNER",
    "sql UPDATE token_auth_keys SET is_active = false WHERE key_id = 'ID'",
];

/// What came of them.
pub(crate) struct Outcome {
    /// How long a node took to refuse, of two nodes each: from before the revocation was asked for, its
    /// whole transaction included, as the sending is with `bare`.
    pub(crate) refused: Latencies,
    /// Those of them that are one statement and its own commit, as a bare notification is.
    pub(crate) by_sql: Latencies,
    /// All from when the revocation had returned, which is a little behind its commit.
    pub(crate) behind: Latencies,
    /// How long a bare notification took to a bare listener meanwhile, its sending included.
    pub(crate) bare: Latencies,
    /// What was still admitted after [`LONGEST`], or again after it was refused.
    pub(crate) missed: Vec<String>,
}

/// Makes `count` revocations, one after the other and by each node in turn, of keys that the other two
/// have cached. `arguments` lead this program to [`serve`].
pub(crate) async fn measure(arguments: &[&str], url: &str, schema: &str, count: usize) -> Outcome {
    let store = PostgresStore::options().schema(schema).expect("a name").max_connections(2);
    let store = store.open(url).await.expect("the server is there");
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(Node::start(arguments, url, schema).await);
    }
    let mut line = Bare::open(url).await;
    let (mut revoked, mut bare) = (Vec::with_capacity(count), Vec::new());
    for number in 0..count {
        let token = format!("token-{number}");
        let order = KINDS[number / NODES % KINDS.len()];
        let order = issue(&store, &token, order).await;
        let revoker = number % NODES;
        for watcher in (0..NODES).filter(|node| *node != revoker) {
            nodes[watcher].order(&format!("watch {token}")).await.expect("it is admitted");
        }
        let done = nodes[revoker].order(&order).await;
        let done = done.unwrap_or_else(|error| panic!("{order}: {error}"));
        let (began, done) = done.split_once(' ').expect("two times");
        let [began, done] = [began, done].map(|at| at.parse::<u128>().expect("a time"));
        revoked.push((order, began, done));
        if number.is_multiple_of(4) {
            bare.push(line.round_trip().await);
        }
    }
    let (mut refused, mut by_sql) = (Vec::new(), Vec::new());
    let (mut behind, mut missed) = (Vec::new(), Vec::new());
    let since = |at: u128, from: u128| {
        Duration::from_nanos(at.saturating_sub(from).try_into().expect("not for ages"))
    };
    for (place, node) in nodes.iter_mut().enumerate() {
        let seen = node.order("collect").await.expect("it tells");
        for seen in seen.split_whitespace() {
            let (number, at) = seen.split_once(':').expect("a number and a time");
            let number: usize = number.parse().expect("a number");
            let (order, began, done) = &revoked[number];
            match at.parse::<u128>() {
                Ok(at) => {
                    refused.push(since(at, *began));
                    behind.push(since(at, *done));
                    if order.starts_with("sql ") {
                        by_sql.push(since(at, *began));
                    }
                }
                Err(_) => missed.push(format!("{order} by node {place}: {at}")),
            }
        }
    }
    assert_eq!(refused.len() + missed.len(), 2 * count, "each is watched by two nodes");
    let [refused, by_sql, behind, bare] = [refused, by_sql, behind, bare].map(Latencies::of);
    Outcome { refused, by_sql, behind, bare, missed }
}

/// Puts a key of an owner of its own into the store; the order that revokes it.
async fn issue(store: &PostgresStore, token: &str, order: &str) -> String {
    let (id, owner) = (KeyId::random(), Owner::staff(format!("owner-{token}")));
    let made = chrono::DateTime::from_timestamp(1_700_000_000, 0).expect("in this century");
    let digest = TokenDigest::of(store.digest_algorithm(), token);
    let key = ApiKey::new(id, digest, owner.id().clone(), made);
    let key = key.with_token_key(Token::parse(token).expect("a token").token_key());
    let order = order.replace("ID", &id.to_string()).replace("OWNER", owner.id().as_str());
    store.insert(key, owner, None, &mut |_, _| true).await.expect("a fresh key");
    order
}

/// Two plain connections, one of which notifies the other.
struct Bare {
    listener: PgListener,
    sender: PgConnection,
}

impl Bare {
    async fn open(url: &str) -> Self {
        let connect: PgConnectOptions = url.parse().expect("a URL");
        let mut listener = PgListener::connect(url).await.expect("the server is there");
        listener.listen("token_auth_bare").await.expect("it listens");
        Self { listener, sender: connect.connect().await.expect("the server is there") }
    }

    async fn round_trip(&mut self) -> Duration {
        let began = now();
        let sent = sqlx::raw_sql("NOTIFY token_auth_bare").execute(&mut self.sender);
        sent.await.expect("it is sent");
        self.listener.recv().await.expect("it comes");
        Duration::from_nanos((now() - began).try_into().expect("not for ages"))
    }
}

/// A node, as the process that started it sees it. It is killed with this.
struct Node {
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Node {
    async fn start(arguments: &[&str], url: &str, schema: &str) -> Self {
        let mut child = Command::new(env::current_exe().expect("this program's path"))
            .args(arguments)
            .env(DATABASE, format!("{schema} {url}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this program starts again");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut node = Self { _child: child, orders, answers };
        node.answer().await.expect("its feed is healthy");
        node
    }

    async fn order(&mut self, order: &str) -> Result<String, String> {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("it listens");
        self.answer().await
    }

    async fn answer(&mut self) -> Result<String, String> {
        loop {
            let line = self.answers.next_line().await.expect("a line");
            let line = line.expect("it has ended");
            // The program may have begun a line of its own before.
            let Some((_, answer)) = line.split_once(ANSWER) else { continue };
            return match answer.split_once(' ') {
                Some(("done", what)) => Ok(what.to_owned()),
                _ => Err(answer.to_owned()),
            };
        }
    }
}

/// Serves as a node until there are no more orders, if this process was started for it; whether it was.
pub(crate) async fn serve() -> bool {
    let Ok(database) = env::var(DATABASE) else { return false };
    let (schema, url) = database.split_once(' ').expect("a schema and a URL");
    let mut desk = Desk::open(schema, url).await;
    println!("{ANSWER}done it listens");
    let order = || std::io::stdin().lines().next();
    while let Some(order) = tokio::task::spawn_blocking(order).await.expect("no panic") {
        match desk.follow(&order.expect("a line")).await {
            Ok(answer) => println!("{ANSWER}done {answer}"),
            Err(error) => println!("{ANSWER}failed: {error}"),
        }
    }
    true
}

/// What a node works with.
struct Desk {
    auth: Authenticator,
    /// Past the manager.
    connection: PgConnection,
    watched: Vec<JoinHandle<()>>,
    seen: Arc<Mutex<String>>,
}

impl Desk {
    async fn open(schema: &str, url: &str) -> Self {
        let options = PostgresStore::options().schema(schema).expect("a name").max_connections(4);
        let store = options.open(url).await.expect("the database can be used");
        let builder = Authenticator::builder(store.clone()).feed(store.feed());
        // Long, so that it is the feed that tells, or nobody.
        let built = builder.fresh_ttl(Duration::from_secs(3_600)).build();
        let (auth, _guard) = built.expect("the settings are sound");
        healthy(&auth).await;
        let connect: PgConnectOptions = url.parse().expect("a URL");
        let connection = connect.options([("search_path", schema)]).connect().await;
        let connection = connection.expect("the server is there");
        Self { auth, connection, watched: Vec::new(), seen: Arc::default() }
    }

    /// Answers with when it was begun and when it was done.
    async fn follow(&mut self, order: &str) -> Result<String, String> {
        let (verb, what) = order.split_once(' ').unwrap_or((order, ""));
        let keys = self.auth.keys();
        let id = || what.parse::<KeyId>().map_err(|error| error.to_string());
        let began = now();
        let done = match verb {
            "deactivate" => keys.deactivate(id()?).await.map(drop),
            "delete" => keys.delete(id()?).await.map(drop),
            "rotate" => keys.rotate(id()?, Rotation::at_once()).await.map(drop),
            "deactivate-owner" => keys.deactivate_owner(what).await.map(drop),
            "sql" => {
                let sql = sqlx::raw_sql(AssertSqlSafe(what.to_owned()));
                let done = sql.execute(&mut self.connection).await;
                let done = done.map_err(|error| error.to_string());
                return done.map(|_| format!("{began} {}", now()));
            }
            "watch" => return self.watch(what.to_owned()).await,
            "collect" => return self.collect().await,
            _ => return Err(format!("nobody knows how to {verb}")),
        };
        let at = now();
        done.map(|()| format!("{began} {at}"))
            .map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))
    }

    /// Asks for the token, which is admitted by now, until it is refused.
    async fn watch(&mut self, token: String) -> Result<String, String> {
        self.auth.authenticate(&token).await.map_err(|refusal| refusal.to_string())?;
        let (auth, seen, runtime) = (self.auth.clone(), Arc::clone(&self.seen), Handle::current());
        let (started, is_started) = tokio::sync::oneshot::channel();
        // On a thread, which can wait for less than a timer's millisecond.
        self.watched.push(tokio::task::spawn_blocking(move || {
            let number = token.trim_start_matches("token-");
            let began = now();
            let mut started = Some(started);
            while runtime.block_on(auth.authenticate(&token)).is_ok() {
                if let Some(started) = started.take() {
                    let _ = started.send(());
                }
                if now() - began > LONGEST.as_nanos() {
                    let _ = write!(seen.lock().expect("whole"), " {number}:never");
                    return;
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            let at = now();
            // Not by chance: it stays refused.
            let is_again = runtime.block_on(auth.authenticate(&token)).is_ok();
            let at = if is_again { "again".to_owned() } else { at.to_string() };
            let _ = write!(seen.lock().expect("whole"), " {number}:{at}");
        }));
        is_started.await.map_err(|_| "it is refused before it was revoked".to_owned())?;
        Ok("it is watched".to_owned())
    }

    async fn collect(&mut self) -> Result<String, String> {
        for watched in self.watched.drain(..) {
            watched.await.map_err(|error| error.to_string())?;
        }
        Ok(self.seen.lock().expect("whole").clone())
    }
}

/// Nanoseconds by the wall clock.
#[expect(clippy::disallowed_methods, reason = "a measurement is of real time")]
fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos()
}
