//! G8: the memory that one cached key takes.

use std::fs;

use counting_allocator::growth_of;
use tokio::runtime::Builder;
use tower_token_auth::Authenticator;

use crate::{Effort, everything::Everything, fronts, print, statistics::Estimate};

const GOAL: f64 = 400.0;
const KEYS: u32 = 1_000_000;

pub(crate) fn report(effort: Effort) {
    let keys = if effort == Effort::Smoke { 10_000 } else { KEYS };
    let Weight { asked_for, resident } = per_key(keys, false);
    let exact = Estimate { value: asked_for, low: asked_for, high: asked_for };
    print("G8", exact, &format!("<= {GOAL:.0}"), asked_for <= GOAL, 0);
    println!("    bytes for each of {keys} keys, the fence's stamps included, fronts apart");
    if let Some(resident) = resident {
        println!("    the process grew by {resident:.0} for each: the allocator rounds up");
    }
    let Weight { asked_for, .. } = per_key(keys, true);
    println!("    with the token key that our own stores read: {asked_for:.0}");
    fronts::report(effort);
}

/// Bytes for each cached key.
struct Weight {
    /// Asked of the allocator and not given back.
    asked_for: f64,
    /// What the process grew by, where the system tells.
    resident: Option<f64>,
}

fn per_key(keys: u32, has_token_keys: bool) -> Weight {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let store = Everything::new(has_token_keys);
    let before = resident();
    let (kept, growth) = growth_of(|| {
        let builder = Authenticator::read_only(store).capacity(keys as usize);
        let kept = builder.build().expect("the capacity fits");
        runtime.block_on(async {
            for number in 0..keys {
                kept.0.authenticate(&format!("token-{number}")).await.expect("every key is good");
            }
        });
        kept
    });
    let grown = before.zip(resident()).map(|(before, after)| after.saturating_sub(before));
    drop(kept);
    Weight {
        asked_for: growth.kept as f64 / f64::from(keys),
        resident: grown.map(|grown| grown as f64 / f64::from(keys)),
    }
}

/// The bytes of memory that this process holds, where Linux says so.
pub(crate) fn resident() -> Option<u64> {
    let pages: u64 =
        fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}
