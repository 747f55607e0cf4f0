//! The integration tests: one binary, a module per subject.

mod fence;
mod manager;
mod support;
