//! I4 on PostgreSQL: how long a key is still admitted by two nodes that a third one has revoked, beside a
//! bare notification. Each node is this very program.

#[allow(dead_code, clippy::unwrap_used, reason = "the tests make use of all of it, in their way")]
#[path = "../../tests/it/support/postgres.rs"]
mod postgres;

use std::{env, time::Duration};

use crate::{
    Effort,
    elsewhere::{
        nodes,
        revocations::{BOUND, Latencies},
        runtime,
    },
    print,
    statistics::Estimate,
};

const REVOCATIONS: usize = 2_000;
/// Of the median, in bare round trips.
const ROUND_TRIPS: f64 = 5.0;

pub(crate) fn report(effort: Effort) {
    let url = env::var("TEST_DATABASE_URL").or_else(|_| env::var("DATABASE_URL"));
    let Ok(url) = url else {
        println!(
            "fleet  left out: neither TEST_DATABASE_URL nor DATABASE_URL names a PostgreSQL server"
        );
        return;
    };
    let count = if effort == Effort::Smoke { 18 } else { REVOCATIONS };
    let database = postgres::Database::on(url);
    let measured = nodes::measure(&[], &database.url, &database.schema, count);
    let outcome = runtime().block_on(measured);
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    // From the commit on, which is what the guarantee counts from: what comes before it is a transaction's
    // time, and holds up nobody else. The two below show it with that.
    let of = |part| millis(outcome.behind.per_mille(part));
    let bare = millis(outcome.bare.per_mille(500));
    let median = Estimate { value: of(500) / bare, low: of(500) / bare, high: of(990) / bare };
    print("fleet", median, "<= 5.0 round trips", median.value <= ROUND_TRIPS, 1);
    // The longest of all, with the whole transaction.
    let worst = millis(outcome.refused.per_mille(1_000));
    let worst = Estimate { value: worst, low: of(500), high: worst };
    let met = outcome.missed.is_empty() && worst.value <= millis(BOUND);
    print("fleet", worst, "<= 1000 ms, 0 of all missed", met, 0);
    println!(
        "    {count} revocations by three nodes in turn, refused by the other two; missed: {}",
        outcome.missed.len()
    );
    let line = |what: &str, latencies: &Latencies| {
        let ratio = millis(latencies.per_mille(500)) / bare;
        println!("    {what}, {ratio:.1} round trips, {latencies}");
    };
    line("from when each was committed, as its call had returned, judged", &outcome.behind);
    line("from before each was asked for, its transaction included", &outcome.refused);
    line("those of one statement, from before that was sent, as the bare one is", &outcome.by_sql);
    println!(
        "    a bare LISTEN/NOTIFY round trip meanwhile, its sending included, {}",
        outcome.bare
    );
}
