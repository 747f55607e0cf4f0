//! A node of the fleet, and how the first one talks to the other: a line each way.

use std::{env, error::Error, io::stdin, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{sleep, timeout},
};
use tower_token_auth::{Authenticator, Guard, PostgresStore};

/// Long enough for anything here: without a feed that works, a revocation takes 10 s at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// An authenticator with a cache of its own, which hears of what other nodes change.
pub(crate) async fn start(
    url: &str,
    schema: &str,
) -> Result<(Authenticator, Guard), Box<dyn Error>> {
    let store = PostgresStore::options().schema(schema)?.open(url).await?;
    let feed = store.feed();
    let (auth, guard) = Authenticator::builder(store).feed(feed).build()?;
    let healthy = async {
        while !auth.feed_health().is_healthy() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let listens = timeout(PATIENCE, healthy).await;
    listens.map_err(|_| format!("the feed is {}", auth.feed_health()))?;
    Ok((auth, guard))
}

/// The other node: says that it admits the token it is sent, and then how it refuses it.
pub(crate) async fn serve(url: &str, schema: &str) -> Result<(), Box<dyn Error>> {
    let token = stdin().lines().next().ok_or("nobody asks")??;
    let (auth, guard) = start(url, schema).await?;
    println!("admits {}", auth.authenticate(&token).await?.name());
    let refused = async {
        loop {
            match auth.authenticate(&token).await {
                Ok(_) => sleep(Duration::from_millis(1)).await,
                Err(refusal) => return refusal,
            }
        }
    };
    println!("{}", timeout(PATIENCE, refused).await?);
    guard.shutdown(PATIENCE).await;
    Ok(())
}

/// The process of the other node. Dropped, it is ended.
pub(crate) struct Other {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Other {
    pub(crate) fn start(schema: &str) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["node", schema]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn()?;
        let input = process.stdin.take().ok_or("it has no input")?;
        let output = BufReader::new(process.stdout.take().ok_or("it has no output")?).lines();
        Ok(Self { process, input, output })
    }
    /// A secret among it is not seen by whoever lists the processes.
    pub(crate) async fn send(&mut self, line: &str) -> Result<(), Box<dyn Error>> {
        Ok(self.input.write_all(format!("{line}\n").as_bytes()).await?)
    }
    pub(crate) async fn says(&mut self) -> Result<String, Box<dyn Error>> {
        Ok(timeout(PATIENCE, self.output.next_line()).await??.ok_or("the other node has ended")?)
    }
    pub(crate) async fn end(mut self) -> Result<(), Box<dyn Error>> {
        let ended = self.process.wait().await?;
        if ended.success() { Ok(()) } else { Err(format!("the other node: {ended}").into()) }
    }
}
