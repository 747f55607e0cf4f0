//! Work that belongs to no request: settling changes whose outcome is unknown.

mod repair;
mod settler;

pub(super) use repair::{Goal, Repair};
pub(super) use settler::{Places, Settler};
