//! A server: one route of axum, with the layer or without.

use std::{io::stdin, thread};

use axum::{Router, routing::get, serve::ListenerExt as _};
use tokio::net::TcpListener;
use tower_token_auth::TokenAuthLayer;

use super::ANSWER;
use crate::setting::Setting;

/// Serves until there are no more orders, of which there are none.
pub(super) fn run(has_layer: bool) {
    // On one thread, so that the load has the other core, as it would have another machine.
    let setting = Setting::prepare();
    let app = Router::new().route("/v1/things", get(async || "things\n"));
    let auth = setting.auth.clone();
    let app = if has_layer { app.layer(TokenAuthLayer::new(auth)) } else { app };
    let listener = setting.runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("the loopback interface is there");
    let port = listener.local_addr().expect("it is bound").port();
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("an open connection"));
    setting.runtime.spawn(async { axum::serve(listener, app).await });
    println!("{ANSWER}{port}");
    let orders = thread::spawn(|| stdin().lines().count());
    orders.join().expect("it does not panic");
}
