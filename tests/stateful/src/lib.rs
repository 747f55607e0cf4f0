//! A stateful property test: whatever two processes do to the keys of one store, each of them
//! decides as a plain model allows.
//!
//! A case is a [`Setting`](step::Setting) and a list of [`Step`](step::Step)s. [`world`] takes the
//! steps on two authenticators that share a store but no cache, as two processes do, and the
//! [`model`] says after each step what either may answer for every known token: what is stored, or
//! what it read so shortly before that it may still go by it, or, while the store can't be asked or a
//! change is not settled, that it can't tell. [`property`] draws cases, and shortens one that fails
//! to steps that can be pasted into `tests/regressions.rs`.
//!
//! `SEED`, `CASES` and `FROM` (the number of the first one) say which cases are run: a case depends
//! on the seed and its own number only. `TOKEN_AUTH_FULL=1` runs all of them, with a seed of its own.
//!
//! # What it finds
//! Each of these faults was planted by itself, and the 2,000 cases of seed 1 run over the store in
//! memory; those of the feed over the one with a feed. Of cases that run at one time, the one that is
//! told of may be one of the next.
//!
//! | fault | found at case |
//! | --- | --- |
//! | a change outdates nothing | 2 |
//! | an edit or a switch of a key outdates nothing | 1 |
//! | a rotation does not outdate the old key | 3 |
//! | a deletion outdates nothing | 4 |
//! | an import does not outdate the token's absence | 4 |
//! | a change of an owner outdates nothing | 5 |
//! | what ends a grace does not outdate the older key | 5 |
//! | an absence depends on no stamp of its digest | 4 |
//! | a present key depends on no stamp of its digest | 2 |
//! | nothing depends on a flush | 4 |
//! | a hit is used whatever its stamps | 1 |
//! | who waits for a read uses it whatever its stamps | 17 |
//! | a read takes its snap when it lands | 5 |
//! | an older read takes a newer one's place | 116 |
//! | the same, of two that began at one moment | 106 |
//! | expiry is not judged on a hit | 6 |
//! | the active flag is not judged | 2 |
//! | the owner is not judged | 3 |
//! | a slot has no time limit | 3 |
//! | an absence lives as long as a key | 3 |
//! | clocks that come apart are not noticed | 5 |
//! | a breaker does not close | 2 |
//! | an outdated slot stands in for a store that fails | 8 |
//! | a slot does so without a limit | 4 |
//! | or for an authoritative decision | 8 |
//! | a lost change is not made good | 2 |
//! | who has read does not ask what is suspect | 3 |
//! | what was read while it was suspect is trusted when that is settled | 41 |
//! | a change begins before what was lost about its key is settled | 23 |
//! | a grace outlives the key's own expiry | 15 |
//! | switching a key off leaves the one that it replaced | 5 |
//! | a key is rotated twice | 173 |
//! | a feed's word is not heeded | 1 |
//! | a gap flushes nothing | 5 |
//! | a gap leaves the lease as it was | 17 |
//! | a lease never ends | 15 |
//! | a slot stands in for a store that fails while nothing is heard | 96 |
//! | neither a hit asks what is suspect, nor who publishes | 1 |
//! | a hit does not ask, and what becomes suspect is not outdated | 1 |
//!
//! It does not find what is the second line behind another one (of a hit, of publishing, and of the
//! stamp of what becomes suspect, one alone is not missed), nor what only two calls of one manager at
//! a time can meet: repairs out of turn, and repairs that have not heard what came behind them. Nor an
//! authoritative decision that takes the word of a read which began before it and told something new.

pub mod backend;
mod draw;
pub mod model;
pub mod property;
mod shorten;
pub mod step;
pub mod telling;
pub mod watched;
pub mod world;
