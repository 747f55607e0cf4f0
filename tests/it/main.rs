//! The integration tests: one binary, a module per subject.

mod house;
mod manager;
mod support;
