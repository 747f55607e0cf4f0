//! Issues, lists, rotates and revokes the keys in a SQLite file.
//!
//! `cargo run --example keys --features full -- list`
//!
//! `TOKEN_AUTH_DB` says which file (token-auth.db).

mod show;

use std::{env, error::Error, process::ExitCode, time::Duration};

use tower_token_auth::{
    Authenticator, KeyId, KeyManager, NewKey, Owner, Record, ReportSettings, Rotation, SqliteStore,
    Token,
};

const USAGE: &str = "usage: keys create NAME | activate ID | deactivate ID | delete ID | report
       keys rotate ID [HOURS]    the old key works for so long; without, it ends at once
       keys list [owner=ID] [active=BOOL] [expiring=DAYS] [unused=DAYS] [tag=TAG] [text=TEXT]";

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("keys: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["create", name] => {
            let (key, token) =
                keys().await?.create(Owner::staff("keys"), NewKey::named(name)).await?;
            println!("created {} ({})", key.name(), key.id());
            shown_once(&token);
        }
        ["rotate", id] => rotate(id, Rotation::at_once()).await?,
        ["rotate", id, hours] => {
            let hours: u16 = hours.parse().map_err(|_| format!("`{hours}`: give whole hours"))?;
            rotate(id, Rotation::with_grace(Duration::from_secs(3600) * hours.into())).await?;
        }
        ["activate", id] => done("activated", &keys().await?.activate(parse(id)?).await?),
        ["deactivate", id] => done("deactivated", &keys().await?.deactivate(parse(id)?).await?),
        ["delete", id] => done("deleted", &keys().await?.delete(parse(id)?).await?),
        ["list", ref filters @ ..] => {
            let filter = show::filter(filters)?;
            show::list(&keys().await?, &filter).await?;
        }
        ["report"] => show::report(&keys().await?.report(ReportSettings::default()).await?),
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// Opened once the arguments are known to be right.
async fn keys() -> Result<KeyManager, Box<dyn Error>> {
    let database = env::var("TOKEN_AUTH_DB").unwrap_or_else(|_| "token-auth.db".to_owned());
    let (auth, _guard) = Authenticator::builder(SqliteStore::open(&database).await?).build()?;
    Ok(auth.keys())
}

async fn rotate(id: &str, rotation: Rotation) -> Result<(), Box<dyn Error>> {
    let (key, token) = keys().await?.rotate(parse(id)?, rotation).await?;
    println!("rotated {}: {} replaces {id}", key.name(), key.id());
    shown_once(&token);
    Ok(())
}

fn done(what: &str, key: &Record) {
    println!("{what} {}", key.name());
}

fn shown_once(token: &Token) {
    println!("its token, shown this once: {}", token.expose());
}

fn parse(id: &str) -> Result<KeyId, String> {
    id.parse().map_err(|_| format!("`{id}` is no key id; `keys list` shows them"))
}
