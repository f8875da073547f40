//! A goroutine of the collector's may be refused for want of memory. What it was to do is done later.
//!
//! A process of its own, whose global allocator refuses what it is told to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use runtime::Builder;
use runtime::gc::{
    self, Trace,
    pacer::{Every, Facts, Pacer, Target},
};

thread_local! {
    /// Whether the caller, a goroutine or a thread, gets no memory.
    static POOR: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, but not for the poor.
struct Choosy;

// SAFETY: no memory, or what the system's allocator gives, whose contract is the same.
unsafe impl GlobalAlloc for Choosy {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        if POOR.get() { null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Choosy = Choosy;

/// The heap is the process's: tests of its cycles take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_driver_that_was_refused_is_started_when_the_heap_grows_on() {
    let _alone = alone();
    let rt = Builder::new().procs(1).pacer(|| Every(1 << 20)).build().expect("threads and stacks");
    let before = gc::stats().cycles;
    rt.run(|| {
        POOR.set(true);
        gc::heap().request();
        POOR.set(false);
        assert!(gc::heap().is_requested(), "it is kept");
        let guard = gc::enter();
        (0..4096_u64).for_each(|n| _ = guard.alloc([n; 64]));
    });
    // The driver ends before the runtime does, if there is one.
    drop(rt);
    assert!(gc::stats().cycles > before);
}

/// Leaves the driver of a cycle without memory at the end of it.
struct Robber;

impl Pacer for Robber {
    fn first(&self) -> Target {
        Every(1 << 20).first()
    }

    fn next(&mut self, facts: Facts) -> Target {
        POOR.set(true);
        Every(1 << 20).next(facts)
    }
}

/// Ends the poverty of whoever drops it, and is counted.
#[derive(Trace)]
struct Gift;

static GIVEN: AtomicUsize = AtomicUsize::new(0);

impl Drop for Gift {
    fn drop(&mut self) {
        POOR.set(false);
        GIVEN.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_driver_that_can_start_nobody_runs_the_destructors() {
    let _alone = alone();
    let rt = Builder::new().procs(1).pacer(|| Robber).build().expect("threads and stacks");
    rt.run(|| {
        _ = gc::enter().alloc(Gift);
        gc::heap().request();
    });
    drop(rt);
    assert_eq!(GIVEN.load(Ordering::Relaxed), 1);
}
