//! What both benchmarks measure: the same contenders as the report's.

#[path = "../report/contenders.rs"]
mod contenders;
#[path = "../report/setting.rs"]
mod setting;

pub use contenders::{Bare, Body, by_hand, drive};
pub use setting::{EXPIRING, Setting, request};
