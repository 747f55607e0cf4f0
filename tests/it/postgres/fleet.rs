//! I4 with three nodes, each its own process: what one revokes, the others refuse.

use super::Database;
use crate::support::{fleet, rounds};

const NODE: [&str; 3] = ["--exact", "postgres::fleet::a_node", "--nocapture"];

/// Not a test: what each node runs, which is this program as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node() {
    fleet::serve().await;
}

/// 2,000 revocations with `TOKEN_AUTH_FULL=1`, otherwise 60, of every kind and by each node in turn; none
/// is missed by either of the others, although their fresh TTL is an hour. How fast they are is for the
/// report to judge, on a machine that does nothing else.
///
/// Seen to fail with a driver that does not outdate what it hears of (all of them), and without
/// `expires_at` among what the trigger compares (that kind).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_revokes_the_others_refuse() {
    let Some(database) = Database::new() else { return };
    let count = rounds(60, 2_000);
    let outcome = fleet::measure(&NODE, &database.url, &database.schema, count).await;
    println!("{count} of 2000 revocations, each of them asked for on two other nodes");
    println!("  refused, from before the revocation was asked for: {}", outcome.refused);
    println!("  refused, of these by one statement: {}", outcome.by_sql);
    println!("  refused, from when it had returned: {}", outcome.behind);
    println!("  a bare LISTEN/NOTIFY round trip meanwhile: {}", outcome.bare);
    assert_eq!(outcome.missed, Vec::<String>::new());
}
