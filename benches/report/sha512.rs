//! G2: what a hit costs where tokens are known by SHA-512, as a share of that hash alone.

use std::hint::black_box;

use sha2::{Digest as _, Sha512};
use tower::Layer as _;
use tower_token_auth::{DigestAlgorithm, TokenAuthLayer};

use crate::{
    Effort,
    contenders::Bare,
    processes::{self, Costs, cost},
    setting::{EXPIRING, Setting, request},
    timing::{BATCH, minus, time, time_calls},
};

const GOAL: f64 = 0.5;
/// In each process.
const ROUNDS: usize = 600;
const LAYER: &str = "the layer adds";
const HASH: &str = "one SHA-512 of a token of 64 bytes";

pub(crate) fn report(effort: Effort) {
    processes::report("G2", effort, [LAYER, HASH], GOAL);
}

/// What each contender costs, in this process.
pub(crate) fn costs(effort: Effort) -> Costs {
    // What knox's tables hold of a token is its SHA-512; which store tells it is no matter to a hit.
    let setting = Setting::with_algorithm(DigestAlgorithm::Sha512);
    let _inside = setting.runtime.enter();
    let mut layer = TokenAuthLayer::new(setting.auth.clone()).layer(Bare);
    let request = request(EXPIRING);
    assert_eq!(EXPIRING.len(), 64);
    let mut times = [const { Vec::new() }; 3];
    for round in 0..effort.rounds(ROUNDS) {
        for place in 0..times.len() {
            let at = (round + place) % times.len();
            times[at].push(match at {
                0 => time(&mut Bare, &request),
                1 => time(&mut layer, &request),
                _ => time_calls(BATCH, |_| {
                    black_box(Sha512::digest(black_box(EXPIRING)));
                }),
            });
        }
    }
    let [bare, layered, hash] = times;
    vec![cost(LAYER, minus(&layered, &bare)), cost(HASH, hash)]
}
