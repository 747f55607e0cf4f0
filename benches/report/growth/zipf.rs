//! By popularity: the hit ratio where a tenth of the keys fits, beside the least recently used.

use std::sync::{Arc, atomic::Ordering};

use tokio::runtime::Builder;

use super::lru::Lru;
use crate::{
    Effort,
    everything::{Everything, authenticator, token},
    statistics::Random,
};

const KEYS: usize = 100_000;
const REQUESTS: usize = 1_000_000;
/// The more, the more popular the popular ones are.
const EXPONENT: f64 = 0.8;

pub(super) fn report(effort: Effort) {
    let (keys, requests) = if effort == Effort::Smoke { (2_000, 20_000) } else { (KEYS, REQUESTS) };
    let capacity = keys / 10;
    let popularity = Popularity::new(keys);
    let mut random = Random(0x21F);
    let mut draws = |count| (0..count).map(|_| popularity.draw(&mut random)).collect::<Vec<_>>();
    // The first ones fill the caches and are not counted.
    let (filling, counted) = (draws(requests / 2), draws(requests));

    let store = Everything::new(false);
    let reads = Arc::clone(&store.reads);
    let auth = authenticator(store, capacity);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let use_all = |draws: &[usize]| {
        let before = reads.load(Ordering::Relaxed);
        runtime.block_on(async {
            for number in draws {
                auth.authenticate(&token(*number)).await.expect("every key is good");
            }
        });
        reads.load(Ordering::Relaxed) - before
    };
    use_all(&filling);
    let ours = 1.0 - use_all(&counted) as f64 / counted.len() as f64;

    let mut lru = Lru::new(capacity, keys);
    let mut hits = |draws: &[usize]| draws.iter().filter(|number| lru.uses(**number)).count();
    hits(&filling);
    let theirs = hits(&counted) as f64 / counted.len() as f64;
    println!(
        "    hit ratio, {keys} keys, Zipf {EXPONENT}, room for {capacity}: {ours:.3}; least recently used \
         {theirs:.3}; the {capacity} most popular kept for ever {:.3}",
        popularity.of_the_first(capacity)
    );
}

/// The probabilities of numbers, the first of which is the most popular one.
struct Popularity {
    /// Up to and with each.
    sums: Vec<f64>,
}

impl Popularity {
    fn new(keys: usize) -> Self {
        let mut sum = 0.0;
        let sums = (1..=keys).map(|rank| {
            sum += (rank as f64).powf(-EXPONENT);
            sum
        });
        Self { sums: sums.collect() }
    }

    fn all(&self) -> f64 {
        self.sums.last().copied().unwrap_or(0.0)
    }

    fn draw(&self, random: &mut Random) -> usize {
        const PARTS: usize = 1 << 52;
        let point = random.below(PARTS) as f64 / PARTS as f64 * self.all();
        self.sums.partition_point(|sum| *sum <= point)
    }

    fn of_the_first(&self, count: usize) -> f64 {
        self.sums[count - 1] / self.all()
    }
}
