//! A stateful property test: whatever two processes do to the keys of one store, each of them
//! decides as a plain model allows.
//!
//! A case is a [`Setting`](step::Setting) and a list of [`Step`](step::Step)s. [`world`] takes the
//! steps on two authenticators that share a store but no cache, as two processes do, and the
//! [`model`] says after each step what either may answer for every known token: what is stored, or
//! what it read so shortly before that it may still go by it, or, while the store can't be asked or a
//! change is not settled, that it can't tell. [`property`] draws cases, and shrinks one that fails to
//! steps that can be pasted into `tests/regressions.rs`.

pub mod backend;
mod draw;
pub mod model;
pub mod property;
pub mod step;
pub mod watched;
pub mod world;
