//! Every case holds, over each store that two processes may share.

use token_auth_stateful::{
    backend::{Memory, MemoryWithFeed, Sqlite},
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
