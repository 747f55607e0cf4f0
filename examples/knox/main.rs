//! A service beside an existing Django: the tokens of its knox, or of its Smarter, are good here too.
//!
//! `DATABASE_URL=… cargo run --example knox --features full`
//!
//! `GET /whoami` says who asks; knox's `login/`, `logout/` and `logoutall/` stand beside it. `ADDR` says
//! where to listen (127.0.0.1:3001; port 0 takes a free one). `LOGIN=ID:PASSWORD` lets the user with that
//! id in `auth_user` log in with that password, by Basic: the passwords in there are Django's to check.

mod basic;

use std::{env, error::Error, process::ExitCode, time::Duration};

use axum::{
    Router, extract::Request, http::header::CONTENT_TYPE, response::IntoResponse, routing::get,
};
use serde_json::json;
use tokio::{net::TcpListener, signal, time};
use tower_token_auth::{
    AuthenticatedKey, Authenticator, KnoxStore,
    knox::{self, KnoxSettings, LoginRefusal},
};

const NO_URL: &str =
    "DATABASE_URL names no database. Give it the one in Django's DATABASES, as one of
    sqlite:/srv/site/db.sqlite3
    postgres://USER:PASSWORD@HOST/NAME
    mysql://USER:PASSWORD@HOST/NAME (MariaDB, too)";

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("knox: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let url = env::var("DATABASE_URL").map_err(|_| NO_URL)?;
    let store = KnoxStore::open(&url).await?;
    let tables = if store.is_smarter() { "Smarter's" } else { "plain knox's" };
    let settings = KnoxSettings::default();
    // Hears of what Django changes.
    let feed = store.feed();
    let (auth, guard) = settings.apply_to(Authenticator::builder(store).feed(feed)).build()?;

    let login = env::var("LOGIN").ok();
    let check = move |request: Request| {
        let user = login.as_deref().and_then(|login| basic::user(login, request.headers()));
        async move { user.ok_or_else(LoginRefusal::basic) }
    };
    let app = Router::new()
        .route("/whoami", get(whoami))
        .layer(settings.layer(auth.clone()))
        // Outside of the layer: who logs in has no token yet.
        .merge(knox::routes(&auth, settings, check));

    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3001".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("can't listen on {address}: {error}; set ADDR to another, such as 127.0.0.1:0")
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("Serving {tables} tables on {url}");
    println!("\nWho asks, with a token of Django's or from here:");
    println!("curl -H 'Authorization: Token TOKEN' {url}/whoami");
    println!("\nA token from here, if LOGIN is set:\ncurl -X POST -u ID:PASSWORD {url}/login/");
    println!("\nThe end of it, here and there:");
    println!("curl -X POST -H 'Authorization: Token TOKEN' {url}/logout/\n\nCtrl-C ends it.");
    let stop = async || signal::ctrl_c().await.unwrap_or(());
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop()).into_future() => served?,
        // A connection that stays open holds the end up no longer than this.
        () = async { stop().await; time::sleep(Duration::from_secs(3)).await } => {}
    }
    println!("Stopped: {}", guard.shutdown(Duration::from_secs(5)).await);
    Ok(())
}

async fn whoami(key: AuthenticatedKey) -> impl IntoResponse {
    let user = json!({ "user": key.owner().username() });
    ([(CONTENT_TYPE, "application/json")], user.to_string())
}
