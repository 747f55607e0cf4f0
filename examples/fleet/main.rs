//! Two nodes over one PostgreSQL: a key that is revoked on one of them is refused by the other.
//!
//! `DATABASE_URL=postgres://… cargo run --example fleet --features full`
//!
//! The other node is this program once more, started with the arguments `node SCHEMA`. The tables are
//! in a schema of this run's own, which is dropped at the end.

mod node;

use std::{env, error::Error, process::ExitCode, time::Duration};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::{signal, time::Instant};
use tower_token_auth::{KeyId, NewKey, Owner};

const NO_URL: &str =
    "DATABASE_URL names no PostgreSQL server. Where none is at hand, this starts one:
    docker run --rm -p 5432:5432 -e POSTGRES_PASSWORD=secret postgres
    export DATABASE_URL=postgres://postgres:secret@127.0.0.1:5432/postgres
or on Debian, with a password of your choice in the place of SECRET:
    sudo apt install postgresql
    sudo -u postgres createuser --pwprompt fleet && sudo -u postgres createdb -O fleet fleet
    export DATABASE_URL=postgres://fleet:SECRET@127.0.0.1:5432/fleet";

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("fleet: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let url = env::var("DATABASE_URL").map_err(|_| NO_URL)?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => {}
        [word, schema] if word == "node" => return node::serve(&url, schema).await,
        _ => return Err("usage: fleet".into()),
    }
    let schema = format!("token_auth_fleet_{}", KeyId::random().as_uuid().simple());
    println!("the tables are in the schema {schema} until this ends");
    let shown = tokio::select! {
        shown = show(&url, &schema) => shown,
        _ = signal::ctrl_c() => Err("interrupted".into()),
    };
    // Whatever came of it, the schema goes.
    if let Ok(mut connection) = PgConnection::connect(&url).await {
        let drop = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await?;
        connection.close().await?;
    }
    shown
}

#[expect(clippy::disallowed_methods, reason = "it says how long it took")]
async fn show(url: &str, schema: &str) -> Result<(), Box<dyn Error>> {
    let (auth, guard) = node::start(url, schema).await?;
    let (key, token) = auth.keys().create(Owner::staff("ada"), NewKey::named("first")).await?;
    println!("this node admits {}", auth.authenticate(token.expose()).await?.name());

    let mut other = node::Other::start(schema)?;
    other.send(token.expose()).await?;
    println!("the other node {}", other.says().await?);

    let asked = Instant::now();
    auth.keys().deactivate(key.id()).await?;
    println!("revoked on this node after {} ms", asked.elapsed().as_millis());
    let refusal = other.says().await?;
    println!("refused on the other node after {} ms: {refusal}", asked.elapsed().as_millis());

    // Neither uses the database any more when its schema is dropped.
    other.end().await?;
    guard.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
