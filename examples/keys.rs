//! Issues, lists and revokes the keys in a SQLite file.
//!
//! `cargo run --example keys --features full -- list`
//!
//! `TOKEN_AUTH_DB` says which file (token-auth.db).

use std::{env, error::Error, process::ExitCode};

use tower_token_auth::{
    Authenticator, KeyFilter, KeyId, KeyManager, NewKey, Owner, Page, SqliteStore,
};

const USAGE: &str = "usage: keys create NAME | list | activate ID | deactivate ID | delete ID";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keys: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if !matches!(arguments[..], ["list"] | ["create" | "activate" | "deactivate" | "delete", _]) {
        return Err(USAGE.into());
    }
    let database = env::var("TOKEN_AUTH_DB").unwrap_or_else(|_| "token-auth.db".to_owned());
    let (auth, _guard) = Authenticator::builder(SqliteStore::open(&database).await?).build()?;
    let keys = auth.keys();
    match arguments[..] {
        ["create", name] => {
            let (key, token) = keys.create(Owner::staff("keys"), NewKey::named(name)).await?;
            println!("created {} ({})", key.name(), key.id());
            println!("its token, shown this once: {}", token.expose());
        }
        ["list"] => list(&keys).await?,
        ["activate", id] => println!("activated {}", keys.activate(parse(id)?).await?.name()),
        ["deactivate", id] => println!("deactivated {}", keys.deactivate(parse(id)?).await?.name()),
        ["delete", id] => println!("deleted {}", keys.delete(parse(id)?).await?.name()),
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

fn parse(id: &str) -> Result<KeyId, String> {
    id.parse().map_err(|_| format!("`{id}` is no key id; `keys list` shows them"))
}

async fn list(keys: &KeyManager) -> Result<(), Box<dyn Error>> {
    println!(
        "{:<36}  {:<20}  {:<8}  {:<9}  {:<20}  last_used_at",
        "id", "name", "digest", "is_active", "expires_at"
    );
    let mut page = Some(Page::default());
    while let Some(wanted) = page {
        let listed = keys.list(KeyFilter::all(), wanted).await?;
        for record in &listed.keys {
            let key = record.key();
            let time = |at: Option<chrono::DateTime<chrono::Utc>>| {
                at.map_or("never".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
            };
            println!(
                "{:<36}  {:<20}  {:<8}  {:<9}  {:<20}  {}",
                key.id().to_string(),
                key.name(),
                key.identifier(),
                key.is_active(),
                time(key.expires_at()),
                time(key.last_used_at()),
            );
        }
        page = listed.next.map(|next| Page::default().after(next));
    }
    Ok(())
}
