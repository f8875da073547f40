//! No memory for mark stacks: a global allocator that refuses while an edge is reported, in a model that asks
//! for it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ptr,
};

/// The system's allocator, for a model to make its global one.
#[derive(Debug)]
pub struct Scarce;

// All threads of a model are one thread of the system, and none is switched while an edge is reported.
thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static REFUSES: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: the system's allocator does the work; it may refuse at any time.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if REFUSES.get() {
            return ptr::null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}

/// From now on there is no room for edges.
pub fn begin() {
    ON.set(true);
}

/// There is room again.
pub fn end() {
    ON.set(false);
}

pub(super) fn is_on() -> bool {
    ON.get()
}

/// Runs `shade` without any memory.
pub fn without(shade: impl FnOnce()) {
    REFUSES.set(true);
    shade();
    REFUSES.set(false);
}

/// Runs `report`, which reports an edge.
pub(super) fn within(report: impl FnOnce()) {
    if is_on() { without(report) } else { report() }
}
