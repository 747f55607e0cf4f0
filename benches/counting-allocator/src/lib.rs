//! The system's allocator with a count of what one thread asks it for.
//!
//! A program that names this crate allocates through it. It is a package of its own because a
//! global allocator can't be written without `unsafe`, which the crate that it measures forbids.
//! While nothing is counted it costs one relaxed load of a value that no one writes, so that the
//! same program can measure times.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering},
};

/// How often `work` allocates or reallocates on this thread.
///
/// Only one thread counts at a time; the others' allocations are left out.
pub fn allocations_of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = COUNT.get();
    // Relaxed: the flag orders nothing. This thread sees its own store, and no other one counts.
    COUNTING.store(true, Ordering::Relaxed);
    let result = work();
    COUNTING.store(false, Ordering::Relaxed);
    (result, COUNT.get() - before)
}

static COUNTING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Constant and without a destructor: reading it never allocates.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

fn count() {
    if COUNTING.load(Ordering::Relaxed) {
        COUNT.set(COUNT.get() + 1);
    }
}

// SAFETY: every call goes to the system's allocator as it came; the count touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::allocations_of;

    #[test]
    fn counts_what_is_allocated_and_nothing_else() {
        let (kept, count) = allocations_of(|| vec![Box::new(1_u8)]);
        assert_eq!((kept.len(), count), (1, 2));
        let (_, count) = allocations_of(|| kept[0].wrapping_add(1));
        assert_eq!(count, 0);
    }
}
