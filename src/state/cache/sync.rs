//! The primitives under the cache: the standard library's, or a model checker's.
//!
//! Under the private cfgs `token_auth_loom` and `token_auth_shuttle` the very same fence, flight
//! and publish code runs on the checker's types. loom loses interleavings in which several loads
//! precede a store of the same atomic, so the models run readers twice: as loads, and (with
//! [`READ_MODIFY_WRITE`] set) as read-modify-writes that change nothing.

#[cfg(not(any(token_auth_loom, token_auth_shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicU64};
use std::sync::{PoisonError, atomic::Ordering};

#[cfg(token_auth_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::AtomicU64};
#[cfg(token_auth_shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicU64};

// Of the thread that a whole model runs on, as checkers switch between theirs on one.
#[cfg(any(token_auth_loom, token_auth_shuttle))]
std::thread_local! {
    /// Whether models read by read-modify-writes.
    pub static READ_MODIFY_WRITE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Reads what a [`release`] wrote, and makes visible all that was written before it.
#[inline]
pub(crate) fn acquire(cell: &AtomicU64) -> u64 {
    #[cfg(any(token_auth_loom, token_auth_shuttle))]
    if READ_MODIFY_WRITE.get() {
        return cell.fetch_add(0, Ordering::AcqRel);
    }
    cell.load(Ordering::Acquire)
}

/// Writes `value`, and with it publishes all that was written before.
#[inline]
pub(crate) fn release(cell: &AtomicU64, value: u64) {
    #[cfg(any(token_auth_loom, token_auth_shuttle))]
    if READ_MODIFY_WRITE.get() {
        // loom does not order a plain store among read-modify-writes of the same atomic.
        cell.swap(value, Ordering::AcqRel);
        return;
    }
    cell.store(value, Ordering::Release);
}

/// Locks. Nothing of ours can panic under these locks and leave a half-made change, so that a
/// poisoned one is as good as any.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
