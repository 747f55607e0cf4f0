//! Issues, lists, rotates and revokes the keys in a SQLite file.
//!
//! `cargo run --example keys --features full -- list`; `TOKEN_AUTH_DB` says which file (token-auth.db).

mod show;

use std::{env, error::Error, path::Path, process::ExitCode, time::Duration};

use tower_token_auth::{
    Authenticator, KeyFilter, KeyId, KeyManager, NewKey, Owner, ReportSettings, Rotation,
    SqliteStore,
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
    let order = order(&arguments)?;
    let database = env::var("TOKEN_AUTH_DB").unwrap_or_else(|_| "token-auth.db".to_owned());
    let is_there = Path::new(&database).exists() || matches!(order, Order::Create(_));
    is_there.then_some(()).ok_or(format!("no key database `{database}`; see TOKEN_AUTH_DB"))?;
    let (auth, guard) = Authenticator::builder(SqliteStore::open(&database).await?).build()?;
    let done = follow(&auth.keys(), order).await;
    // A change of which the outcome is not known is settled before this process ends.
    guard.shutdown(Duration::from_secs(10)).await;
    done
}

enum Order<'a> {
    Create(&'a str),
    Rotate(KeyId, Rotation),
    Activate(KeyId),
    Deactivate(KeyId),
    Delete(KeyId),
    List(KeyFilter),
    Report,
}

fn order<'a>(arguments: &[&'a str]) -> Result<Order<'a>, String> {
    let id = |id: &str| id.parse().map_err(|_| format!("`{id}` is no key id; see `keys list`"));
    let hours = |text: &str| text.parse().map_err(|_| format!("`{text}`: give whole hours"));
    let grace = |hours: u16| Rotation::with_grace(Duration::from_secs(3600) * hours.into());
    Ok(match *arguments {
        ["create", name] => Order::Create(name),
        ["rotate", key] => Order::Rotate(id(key)?, Rotation::at_once()),
        ["rotate", key, text] => Order::Rotate(id(key)?, grace(hours(text)?)),
        ["activate", key] => Order::Activate(id(key)?),
        ["deactivate", key] => Order::Deactivate(id(key)?),
        ["delete", key] => Order::Delete(id(key)?),
        ["list", ref filters @ ..] => Order::List(show::filter(filters)?),
        ["report"] => Order::Report,
        _ => return Err(USAGE.to_owned()),
    })
}

async fn follow(keys: &KeyManager, order: Order<'_>) -> Result<(), Box<dyn Error>> {
    match order {
        Order::Create(name) => {
            let owner = Owner::staff("keys");
            show::issued("created", &keys.create(owner, NewKey::named(name)).await?);
        }
        Order::Rotate(id, rotation) => show::issued("rotated", &keys.rotate(id, rotation).await?),
        Order::Activate(id) => println!("activated {}", keys.activate(id).await?.name()),
        Order::Deactivate(id) => println!("deactivated {}", keys.deactivate(id).await?.name()),
        Order::Delete(id) => println!("deleted {}", keys.delete(id).await?.name()),
        Order::List(filter) => show::list(keys, &filter).await?,
        Order::Report => show::report(&keys.report(ReportSettings::default()).await?),
    }
    Ok(())
}
