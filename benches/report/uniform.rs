//! G11: what a hit costs that is drawn from a million keys, which no processor's cache holds.

use std::{hint::black_box, sync::Arc};

use dashmap::DashMap;
use http::Request;
use tower::Layer as _;
use tower_token_auth::{DigestAlgorithm, TokenAuthLayer, TokenDigest};

use crate::{
    Effort,
    contenders::{Bare, Body},
    everything::{Cached, token},
    print,
    setting::requests,
    statistics::{Random, estimate, median},
    timing::{BATCH, line, minus, time_all, time_calls},
};

const KEYS: usize = 1_000_000;
const FEW: usize = 100;
const ROUNDS: usize = 3_000;

/// As large as what a cache keeps of a key beside its record.
type Value = Arc<[u64; 8]>;

pub(crate) fn report(effort: Effort) {
    let keys = if effort == Effort::Smoke { 2_000 } else { KEYS };
    let (many, few) = (Cached::new(keys), Cached::new(FEW));
    let [mut of_many, mut of_few] =
        [&many, &few].map(|cached| TokenAuthLayer::new(cached.auth.clone()).layer(Bare));
    let map: DashMap<u64, Value> =
        (0..keys).map(|number| (place(&token(number)), Value::default())).collect();
    let mut random = Random(0xD1CE);
    let mut times = [const { Vec::new() }; 6];
    for round in 0..effort.rounds(ROUNDS) {
        for place in 0..times.len() {
            let at = (round + place) % times.len();
            let nanos = match at {
                0 => time_all(&mut Bare, drawn(&mut random, keys)),
                1 => time_all(&mut of_many, drawn(&mut random, keys)),
                2 => time_all(&mut of_few, drawn(&mut random, FEW)),
                3 => {
                    let tokens = tokens(&mut random, keys);
                    time_calls(BATCH, |at| {
                        let token = black_box(&tokens[at]);
                        black_box(TokenDigest::of(DigestAlgorithm::Sha256, token));
                    })
                }
                4 => looked_up(&map, &places(&mut random, keys), |value| {
                    black_box(value);
                }),
                _ => looked_up(&map, &places(&mut random, keys), |value| {
                    black_box(Arc::clone(value));
                }),
            };
            times[at].push(nanos);
        }
    }
    let [bare, of_many, of_few, digest, look, taken] = times;
    let (cost, at_few) = (minus(&of_many, &bare), minus(&of_few, &bare));
    let share = estimate([&cost, &at_few, &digest, &look], |[cost, at_few, digest, look]| {
        median(cost) / (median(at_few) + median(digest) + 1.5 * median(look))
    });
    print("G11", share, "<= 1.00 of its bound", share.value <= 1.0, 2);
    line(&format!("the layer adds, a key of {keys} at random"), cost);
    line(&format!("the layer adds, a key of {FEW} at random"), at_few);
    line("one SHA-256 of a token of 64 bytes", digest);
    line(&format!("a bare DashMap's get, {keys} entries"), look);
    line("the same, its value's count moved", taken);
}

/// What is looked up takes.
fn looked_up(map: &DashMap<u64, Value>, places: &[u64], look: impl Fn(&Value)) -> f64 {
    time_calls(places.len(), |at| {
        let value = map.get(&places[at]);
        look(&value.expect("every key is there"));
    })
}

/// Requests with keys that are drawn with equal probability.
pub(crate) fn drawn(random: &mut Random, keys: usize) -> Vec<Request<Body>> {
    requests(&tokens(random, keys))
}

fn tokens(random: &mut Random, keys: usize) -> Vec<String> {
    (0..BATCH).map(|_| token(random.below(keys))).collect()
}

fn places(random: &mut Random, keys: usize) -> Vec<u64> {
    tokens(random, keys).iter().map(|token| place(token)).collect()
}

/// By what the cache knows a token: the beginning of its digest.
fn place(token: &str) -> u64 {
    let digest = TokenDigest::of(DigestAlgorithm::Sha256, token);
    u64::from_ne_bytes(*digest.as_bytes().first_chunk().expect("a digest has at least 32 bytes"))
}
