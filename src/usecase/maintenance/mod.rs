//! What goes on in the background for as long as an authenticator lives: settling changes whose outcome
//! is unknown, deleting what has expired, and publishing what was counted.
//!
//! # Rules of settling
//! 1. From its loss until it was made good, nothing is admitted or refused about a change's subjects.
//! 2. What was lost about one subject is made good in the order in which it was lost, one at a time. A
//!    later change of it begins after that, or not at all: nobody's repair undoes what they did next.
//! 3. A change takes room before it begins, so that what a bad day leaves behind is bounded.
//! 4. It is kept in memory alone: a process that ends without [`Guard::shutdown`](crate::Guard::shutdown)
//!    leaves the rows as the store has them.

#[cfg(test)]
mod desk;
mod goal;
mod queue;
mod repair;
mod settler;
mod sweeper;
mod tender;
mod upkeep;

pub(super) use goal::{Change, Goal, is_claim};
pub(super) use queue::Places;
pub(super) use repair::Repair;
pub(super) use settler::Settler;
pub(super) use sweeper::Sweeper;
pub(super) use tender::Failure;
pub(super) use upkeep::Upkeep;
