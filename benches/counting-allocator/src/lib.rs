//! The system's allocator with a count of what one thread asks it for, and a scale for them all.
//!
//! A program that names this crate allocates through it. It is a package of its own because a
//! global allocator can't be written without `unsafe`, which the crate that it measures forbids.
//! While nothing is counted or weighed it costs two relaxed loads of values that no one writes, so
//! that the same program can measure times.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
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

/// By how many bytes the memory of all threads grew: as they asked for it, the system allocator's
/// own overhead not included.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// From the beginning to the end. What was freed in between may have been there before.
    pub kept: i64,
    /// From the beginning to the highest point.
    pub peak: i64,
}

/// How much memory all threads together take for `work`, and keep after it.
///
/// One piece of work is weighed at a time.
pub fn growth_of<T>(work: impl FnOnce() -> T) -> (T, Growth) {
    // SeqCst: two pieces of work in turn, and not a matter of time.
    BALANCE.store(0, Ordering::SeqCst);
    PEAK.store(0, Ordering::SeqCst);
    WEIGHING.store(true, Ordering::SeqCst);
    let result = work();
    WEIGHING.store(false, Ordering::SeqCst);
    let growth = Growth { kept: BALANCE.load(Ordering::SeqCst), peak: PEAK.load(Ordering::SeqCst) };
    (result, growth)
}

static COUNTING: AtomicBool = AtomicBool::new(false);
static WEIGHING: AtomicBool = AtomicBool::new(false);
/// Bytes taken and not given back since the work began.
static BALANCE: AtomicI64 = AtomicI64::new(0);
/// The highest that the balance was.
static PEAK: AtomicI64 = AtomicI64::new(0);

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

/// Relaxed: a sum and a maximum, which order nothing.
fn weigh(taken: usize, given_back: usize) {
    if WEIGHING.load(Ordering::Relaxed) {
        let change = taken as i64 - given_back as i64;
        let balance = BALANCE.fetch_add(change, Ordering::Relaxed) + change;
        PEAK.fetch_max(balance, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came; the count touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        weigh(layout.size(), 0);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        weigh(0, layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        weigh(layout.size(), 0);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        weigh(size, layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::{allocations_of, growth_of};

    #[test]
    fn counts_what_is_allocated_and_nothing_else() {
        let (kept, count) = allocations_of(|| vec![Box::new(1_u8)]);
        assert_eq!((kept.len(), count), (1, 2));
        let (_, count) = allocations_of(|| kept[0].wrapping_add(1));
        assert_eq!(count, 0);
    }

    #[test]
    fn weighs_what_every_thread_takes_and_keeps() {
        let work = || {
            let large = std::thread::spawn(|| vec![0_u8; 50 << 20]).join().expect("no panic");
            drop(large);
            vec![0_u8; 10 << 20]
        };
        let (kept, growth) = growth_of(work);
        // Other tests, and a thread's own, take some kilobytes meanwhile.
        let near = |bytes: i64, megabytes: i64| (bytes - (megabytes << 20)).abs() < 1 << 20;
        assert!(near(growth.kept, 10) && near(growth.peak, 50), "{growth:?}");
        drop(kept);
    }
}
