//! Another process on the same database: this very program, started anew, that does as it is told.
//!
//! It reads one order a line and answers each with one line: `done`, or `failed` and why. Whoever
//! starts it chooses the arguments that lead the program to [`serve`].

use std::{path::Path, process::Stdio};

use sqlx::{AssertSqlSafe, SqlitePool, sqlite::SqliteConnectOptions};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};
use tower_token_auth::{
    Authenticator, KeyId, KeyUpdate, NewKey, Owner, OwnerUpdate, Rotation, SqliteStore,
};

/// Where the database is, for the process that is to serve.
const DATABASE: &str = "TOKEN_AUTH_OTHER";
/// What its answers begin with: a test's own program prints more than those.
const ANSWER: &str = "other: ";

/// The process, as the one that started it sees it. It is killed with this.
pub(crate) struct Other {
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Other {
    /// Starts this program with arguments that lead to [`serve`], on a database.
    pub(crate) async fn start(arguments: &[&str], database: &Path) -> Self {
        let program = std::env::current_exe().expect("this program's path");
        let mut child = Command::new(program)
            .args(arguments)
            .env(DATABASE, database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this program starts again");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut other = Self { _child: child, orders, answers };
        other.answer().await.expect("it opens the database");
        other
    }

    /// Gives an order; back when it is done.
    pub(crate) async fn order(&mut self, order: &str) -> Result<(), String> {
        self.begin(order).await;
        self.answer().await
    }

    /// Gives an order and does not wait: [`answer`](Self::answer) does.
    pub(crate) async fn begin(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("it listens");
    }

    pub(crate) async fn answer(&mut self) -> Result<(), String> {
        loop {
            let line = self.answers.next_line().await.expect("a line");
            let line = line.expect("it has ended");
            // The program may have begun a line of its own before.
            match line.split_once(ANSWER).map(|(_, answer)| answer) {
                Some("done") => return Ok(()),
                Some(failed) => return Err(failed.to_owned()),
                None => {}
            }
        }
    }
}

/// Serves until there are no more orders, if this process was started for it; whether it was.
pub(crate) async fn serve() -> bool {
    let Some(database) = std::env::var_os(DATABASE) else { return false };
    let desk = Desk::open(Path::new(&database)).await;
    println!("{ANSWER}done");
    let order = || std::io::stdin().lines().next();
    while let Some(order) = tokio::task::spawn_blocking(order).await.expect("no panic") {
        let order = order.expect("a line");
        match desk.follow(&order).await {
            Ok(()) => println!("{ANSWER}done"),
            Err(error) => println!("{ANSWER}{error}"),
        }
    }
    true
}

/// What the other process works with: a manager, and a connection past it.
struct Desk {
    auth: Authenticator,
    pool: SqlitePool,
}

impl Desk {
    async fn open(database: &Path) -> Self {
        let store = SqliteStore::open(database).await.expect("the database can be used");
        let builder = Authenticator::builder(store.clone()).feed(store.feed());
        let (auth, _guard) = builder.build().expect("the defaults are sound");
        let connect = SqliteConnectOptions::new().filename(database);
        Self { auth, pool: SqlitePool::connect_lazy_with(connect) }
    }

    async fn follow(&self, order: &str) -> Result<(), String> {
        let (verb, what) = order.split_once(' ').unwrap_or((order, ""));
        let keys = self.auth.keys();
        let id = || what.parse::<KeyId>().map_err(|error| error.to_string());
        let done = match verb {
            "deactivate" => keys.deactivate(id()?).await.map(drop),
            "toggle" => keys.toggle_active(id()?).await.map(drop),
            "delete" => keys.delete(id()?).await.map(drop),
            "narrow" => keys.update(id()?, KeyUpdate::new().scopes(["read"])).await.map(drop),
            "move" => keys.update(id()?, KeyUpdate::new().account(None::<&str>)).await.map(drop),
            "rotate" => keys.rotate(id()?, Rotation::at_once()).await.map(drop),
            "revoke-all" => keys.revoke_all(what).await.map(drop),
            "deactivate-owner" => keys.deactivate_owner(what).await.map(drop),
            "demote" => keys.update_owner(what, OwnerUpdate::new().staff(false)).await.map(drop),
            "leave" => keys.set_accounts(what, ["other"]).await.map(drop),
            "sql" => return self.run(what).await,
            "work" => return work(&self.auth, what.parse().expect("a number")).await,
            _ => return Err(format!("nobody knows how to {verb}")),
        };
        done.map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))
    }

    async fn run(&self, sql: &str) -> Result<(), String> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await;
        done.map(drop).map_err(|error| error.to_string())
    }
}

/// Four tasks that write `rounds` times each, by every kind of change, with the recorder writing
/// beside them; the first error that a caller meets ends it.
pub(crate) async fn work(auth: &Authenticator, rounds: usize) -> Result<(), String> {
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let auth = auth.clone();
            tokio::spawn(async move { work_alone(&auth, number, rounds).await })
        })
        .collect();
    for task in tasks {
        let done = task.await.expect("it does not panic");
        done.map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))?;
    }
    Ok(())
}

async fn work_alone(
    auth: &Authenticator,
    number: usize,
    rounds: usize,
) -> Result<(), tower_token_auth::KeyError> {
    let keys = auth.keys();
    let name = format!("worker-{}-{number}", std::process::id());
    for _ in 0..rounds {
        let (key, token) = keys.create(Owner::staff(name.as_str()), NewKey::default()).await?;
        let _ = auth.authenticate(token.expose()).await;
        keys.update(key.id(), KeyUpdate::new().description(Some("at work"))).await?;
        keys.deactivate(key.id()).await?;
        keys.accessed(key.id()).await?;
        keys.delete(key.id()).await?;
    }
    keys.deactivate_owner(name.as_str()).await.map(drop)
}
