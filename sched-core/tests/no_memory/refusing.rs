//! An allocator that has nothing for a thread, from some request on, or no records for anybody.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering},
};

/// The system's allocator, which refuses.
struct Refusing;

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// Records are refused to everybody.
static NO_RECORDS: AtomicBool = AtomicBool::new(false);

/// Whether a chunk of records is asked for. They lie at cache lines, and nothing else here is so large.
fn is_chunk(layout: Layout) -> bool {
    layout.align() >= 64 && layout.size() >= 8 << 10
}

/// What a thread, or a goroutine, has asked for.
#[derive(Clone, Copy)]
struct Account {
    /// Requests until all are refused.
    left: usize,
    refused: usize,
    /// Blocks that it has, less those that it freed for others.
    blocks: isize,
}

thread_local! {
    static ACCOUNT: Cell<Account> =
        const { Cell::new(Account { left: usize::MAX, refused: 0, blocks: 0 }) };
}

// SAFETY: the system's allocator does the work; it may refuse at any time.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut account = ACCOUNT.get();
        // Relaxed: the word says no more than itself.
        let refuses = account.left == 0 || is_chunk(layout) && NO_RECORDS.load(Ordering::Relaxed);
        account.left = account.left.saturating_sub(1);
        account.refused += usize::from(refuses);
        account.blocks += isize::from(!refuses);
        ACCOUNT.set(account);
        if refuses {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        let account = ACCOUNT.get();
        ACCOUNT.set(Account { blocks: account.blocks - 1, ..account });
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Calls `f`, for which there is memory for so many requests. Also how many were refused.
pub(crate) fn after<R>(left: usize, f: impl FnOnce() -> R) -> (R, usize) {
    ACCOUNT.set(Account { left, refused: 0, ..ACCOUNT.get() });
    let result = f();
    let account = ACCOUNT.get();
    ACCOUNT.set(Account { left: usize::MAX, ..account });
    (result, account.refused)
}

/// The caller's blocks.
pub(crate) fn blocks() -> isize {
    ACCOUNT.get().blocks
}

/// Calls `f`, while which nobody gets records.
pub(crate) fn without_records<R>(f: impl FnOnce() -> R) -> R {
    // Relaxed, both: as in `alloc`.
    NO_RECORDS.store(true, Ordering::Relaxed);
    let result = f();
    NO_RECORDS.store(false, Ordering::Relaxed);
    result
}
