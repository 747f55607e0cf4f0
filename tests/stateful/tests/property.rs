//! Every case holds, over each store that two processes may share.

use token_auth_stateful::{
    backend::{Memory, MemoryWithFeed, Postgres, Sqlite},
    property::hold,
};

#[test]
fn memory() {
    hold::<Memory>(2_000, 20_000);
}

#[test]
fn memory_with_a_feed() {
    hold::<MemoryWithFeed>(2_000, 20_000);
}

#[test]
fn sqlite() {
    hold::<Sqlite>(2_000, 20_000);
}

/// Each case takes a hundred times as long as one in memory: all of it is said to a server.
#[test]
fn postgres() {
    if Postgres::url().is_none() {
        println!("\nSKIPPED postgres: TEST_DATABASE_URL names no PostgreSQL server");
        return;
    }
    hold::<Postgres>(200, 2_000);
}
