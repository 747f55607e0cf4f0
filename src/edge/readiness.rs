//! How a service gives up the readiness that it was polled for.

use std::mem;

/// Drops the service that was polled ready, with whatever permit or slot that reserved. A clone
/// takes its place, and by tower's contract is not ready until it is polled itself.
pub(super) fn give_up_readiness<S: Clone>(inner: &mut S) {
    let unready = inner.clone();
    drop(mem::replace(inner, unready));
}
