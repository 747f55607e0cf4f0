//! The authenticator without Tower: a worker whose jobs carry the token of whoever sent them.
//!
//! `cargo run --example worker --features full`

use std::{error::Error, time::Duration};

use tokio::sync::mpsc;
use tower_token_auth::{AuthenticatedKey, Authenticator, MemoryStore, NewKey, Owner, Token};

/// What lies in the queue: a job, and the token it was sent with.
struct Job {
    name: &'static str,
    token: Token,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (auth, guard) = Authenticator::builder(MemoryStore::new()).build()?;
    let keys = auth.keys();
    let (key, token) = keys.create(Owner::staff("ada"), NewKey::named("reports")).await?;

    let (queue, mut jobs) = mpsc::channel(8);
    queue.send(Job { name: "monthly report", token }).await?;
    queue.send(Job { name: "guess", token: Token::parse("no-such-key")? }).await?;
    drop(queue);

    let mut admitted: Vec<(&str, AuthenticatedKey)> = Vec::new();
    while let Some(job) = jobs.recv().await {
        match auth.authenticate(job.token.expose()).await {
            Ok(key) => {
                println!("{}: admitted as {}", job.name, key.name());
                admitted.push((job.name, key));
            }
            Err(rejection) => println!("{}: refused: {rejection}", job.name),
        }
    }

    // A job that takes long asks again before it does what can't be undone.
    for (name, key) in &admitted {
        auth.recheck(key).await?;
        println!("{name}: still admitted");
    }
    keys.deactivate(key.id()).await?;
    for (name, key) in &admitted {
        match auth.recheck(key).await {
            Ok(_) => return Err("a deactivated key was admitted".into()),
            Err(rejection) => println!("{name}: stopped: {rejection}"),
        }
    }

    // What the recorder still holds is written before the process ends.
    let written = guard.shutdown(Duration::from_secs(5)).await;
    println!("{written}");
    Ok(())
}
