//! One body, explored by loom (`--cfg token_auth_loom`) or by shuttle (`--cfg token_auth_shuttle`).
//!
//! Nothing of the cache is copied here: the models drive the shipped authenticator, whose locks,
//! fence and waits are the checker's own types under those cfgs. `DashMap`, whose locks no checker
//! sees, is a map under one of the checker's; a key's place and the recorder's moment are hints
//! that guard nothing and stay the standard library's.

#[cfg(any(token_auth_loom, token_auth_shuttle))]
pub mod world;

#[cfg(token_auth_loom)]
pub use loom::{
    future::block_on,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::spawn,
};
#[cfg(token_auth_shuttle)]
pub use shuttle::{
    future::block_on,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::spawn,
};

/// Every interleaving with at most `preemptions` forced switches, with readers as plain loads and
/// then as read-modify-writes (loom loses interleavings in which loads precede a store of the same
/// atomic). Panics if the search is not finished: a check that was cut short is no check.
#[cfg(token_auth_loom)]
pub fn explore(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    use std::sync::Arc;

    let body = Arc::new(body);
    for read_modify_write in [false, true] {
        tower_token_auth::model::READ_MODIFY_WRITE.set(read_modify_write);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 100_000;
        let body = Arc::clone(&body);
        builder.check(move || body());
    }
}

/// `SCHEDULES` schedules (10,000 unless set) of the PCT scheduler, which finds with known
/// probability what needs few switches at the right places; random scheduling missed some of it.
/// Two switches more than loom is given: with as many, PCT missed a superseding read whose check was
/// removed.
#[cfg(token_auth_shuttle)]
pub fn explore(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let schedules = std::env::var("SCHEDULES").ok().and_then(|count| count.parse().ok());
    shuttle::check_pct(body, schedules.unwrap_or(10_000), preemptions + 2);
}
