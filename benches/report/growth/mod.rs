//! How the layer's costs grow: with the keys that are cached, with threads, and with misses.

mod keys;
mod lru;
mod throughput;
mod zipf;

use crate::Effort;

pub(crate) fn report(effort: Effort) {
    println!("growth");
    keys::report(effort);
    throughput::report(effort);
    zipf::report(effort);
}
