//! An axum service that knows every request by its API key, with the keys in a SQLite file.
//!
//! `cargo run --example quickstart --features full`
//!
//! `ADDR` says where to listen (127.0.0.1:3000), `TOKEN_AUTH_DB` where the keys are (token-auth.db).

use std::{env, error::Error, process::ExitCode, time::Duration};

use axum::{Router, routing::get};
use tokio::{net::TcpListener, signal};
use tower_token_auth::{
    AuthenticatedKey, Authenticator, KeyFilter, KeyManager, NewKey, Owner, Page, SqliteStore,
    TokenAuthLayer,
};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("quickstart: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let database = env::var("TOKEN_AUTH_DB").unwrap_or_else(|_| "token-auth.db".to_owned());
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("can't listen on {address}: {error}; set ADDR to another, such as 127.0.0.1:0")
    })?;

    let store = SqliteStore::open(&database).await?;
    // Hears of what other processes change in the same file, such as the `keys` example.
    let feed = store.feed();
    let (auth, guard) = Authenticator::builder(store).feed(feed).build()?;
    let name = next_name(&auth.keys()).await?;
    let owner = Owner::staff("quickstart");
    let (key, token) = auth.keys().create(owner, NewKey::named(name.as_str())).await?;

    let url = format!("http://{}/", listener.local_addr()?);
    println!("The keys are in {database}. This run made the key {name}; its token is shown once.");
    println!("\nAdmitted:\ncurl -H 'Authorization: Token {}' {url}", token.expose());
    println!("\nRefused:\ncurl -H 'Authorization: Token no-such-key' {url}");
    println!("\nRevokes the key from another terminal, here within a second:");
    println!("{}cargo run --example keys --features full -- deactivate {}", elsewhere(), key.id());
    println!("\nCtrl-C ends it.");

    let app = Router::new().route("/", get(hello)).layer(TokenAuthLayer::new(auth));
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop()).into_future() => served?,
        // A connection that stays open holds the end up no longer than this.
        () = async { stop().await; tokio::time::sleep(Duration::from_secs(3)).await } => {}
    }
    println!("Stopped: {}", guard.shutdown(Duration::from_secs(5)).await);
    Ok(())
}

async fn hello(key: AuthenticatedKey) -> String {
    format!("hello, {}\n", key.name())
}

/// Ctrl-C, or SIGTERM, by which containers and systemd end a process.
async fn stop() {
    #[cfg(unix)]
    if let Ok(mut terminated) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
        tokio::select! { _ = signal::ctrl_c() => return, _ = terminated.recv() => return }
    }
    signal::ctrl_c().await.unwrap_or(());
}

/// `quickstart`, then `quickstart-2`: an earlier run's token was shown then and can't be again.
async fn next_name(keys: &KeyManager) -> Result<String, Box<dyn Error>> {
    let own = KeyFilter::all().owner("quickstart");
    let earlier = keys.list(own, Page::first(Page::MAX)).await?.keys.len();
    Ok(if earlier == 0 { "quickstart".into() } else { format!("quickstart-{}", earlier + 1) })
}

/// Names the database for the `keys` example, if it is not the usual one.
fn elsewhere() -> String {
    let quoted = |path: String| format!("TOKEN_AUTH_DB='{}' ", path.replace('\'', r"'\''"));
    env::var("TOKEN_AUTH_DB").map(quoted).unwrap_or_default()
}
