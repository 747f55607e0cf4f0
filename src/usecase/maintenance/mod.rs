//! What goes on in the background for as long as an authenticator lives: settling changes whose outcome
//! is unknown, and publishing what was counted.

mod repair;
mod settler;
mod upkeep;

pub(super) use repair::{Goal, Repair};
pub(super) use settler::{Places, Settler};
pub(super) use upkeep::Upkeep;
