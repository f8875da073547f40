//! An allocator that has nothing for a thread, from some request on.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The system's allocator, which refuses what a thread asks for.
struct Refusing;

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// What is refused.
#[derive(Clone, Copy)]
struct Scarcity {
    /// Requests of at least so many bytes.
    bytes: usize,
    /// After so many of them.
    left: usize,
    refused: usize,
}

impl Scarcity {
    const NONE: Self = Self { bytes: usize::MAX, left: usize::MAX, refused: 0 };

    fn refuses(&mut self, bytes: usize) -> bool {
        if bytes < self.bytes {
            return false;
        }
        let refuses = self.left == 0;
        self.left = self.left.saturating_sub(1);
        self.refused += usize::from(refuses);
        refuses
    }
}

thread_local! {
    static SCARCITY: Cell<Scarcity> = const { Cell::new(Scarcity::NONE) };
    static HELD: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work; it may refuse at any time.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut scarcity = SCARCITY.get();
        let refuses = scarcity.refuses(layout.size());
        SCARCITY.set(scarcity);
        if refuses {
            return std::ptr::null_mut();
        }
        HELD.set(HELD.get().wrapping_add(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}

/// After so many requests of `f` for at least so many bytes there is no memory for more. Also how many were
/// refused.
pub(crate) fn without<R>(left: usize, bytes: usize, f: impl FnOnce() -> R) -> (R, usize) {
    SCARCITY.set(Scarcity { bytes, left, refused: 0 });
    let result = f();
    (result, SCARCITY.replace(Scarcity::NONE).refused)
}

/// Bytes that the thread has asked for and not given back, modulo what it took over from others.
pub(crate) fn held() -> usize {
    HELD.get()
}
