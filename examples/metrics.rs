//! What the crate counts, served in Prometheus' text format beside the route that it guards.
//!
//! `cargo run --example metrics --features full`
//!
//! `ADDR` says where to listen (127.0.0.1:3002; port 0 takes a free one). The key lives in memory.

use std::{env, error::Error, process::ExitCode, time::Duration};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{net::TcpListener, signal, time};
use tower_token_auth::{
    AuthenticatedKey, Authenticator, MemoryStore, NewKey, Owner, TokenAuthLayer,
};

/// How histograms are divided, in seconds.
const BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metrics: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let exporter = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;
    let (auth, guard) = Authenticator::builder(MemoryStore::new()).build()?;
    let (_, token) = auth.keys().create(Owner::staff("ada"), NewKey::named("metrics")).await?;

    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3002".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!(
            "can't listen on {address}: {error}; set ADDR to another HOST:PORT, such as 127.0.0.1:0"
        )
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("Admitted:\ncurl -H 'Authorization: Token {}' {url}/", token.expose());
    println!("\nRefused:\ncurl -H 'Authorization: Token no-such-key' {url}/");
    println!("\nWhat was counted, up to a second ago:\ncurl {url}/metrics");
    println!("\nCtrl-C ends it.");

    tokio::spawn(upkeep(exporter.clone()));
    // The layer guards the routes that were added before it. A real service serves its metrics on an
    // address of their own, which only the scraper can reach.
    let app = Router::new()
        .route("/", get(hello))
        .layer(TokenAuthLayer::new(auth))
        .route("/metrics", get(async move || scrape(&exporter)));
    let stop = async || signal::ctrl_c().await.unwrap_or(());
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop()).into_future() => served?,
        // A connection that stays open holds the end up no longer than this.
        () = async { stop().await; time::sleep(Duration::from_secs(3)).await } => {}
    }
    println!("Stopped: {}", guard.shutdown(Duration::from_secs(5)).await);
    Ok(())
}

async fn hello(key: AuthenticatedKey) -> String {
    format!("hello, {}\n", key.name())
}

fn scrape(exporter: &PrometheusHandle) -> ([(axum::http::HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], exporter.render())
}

/// What the exporter asks for where nobody scrapes: otherwise its histograms grow.
async fn upkeep(exporter: PrometheusHandle) {
    loop {
        time::sleep(Duration::from_secs(5)).await;
        exporter.run_upkeep();
    }
}
