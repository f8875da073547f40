//! Allocation where no cache can be used: in a handler that interrupted an allocation, and after the
//! thread gave its cache back.
//!
//! Such a caller gets its block from an *emergency heap*: a heap of its own with one cache behind a lock.
//! A lock alone would not do. The handler may have interrupted a thread that holds it, and would wait
//! for itself. So there are as many heaps as handlers may be nested: a thread in the middle of `n` of
//! them uses number `n`.
//!
//! *No thread waits for itself*: it waits for heap `n` only while it is inside the heaps below `n`.
//! *Nobody waits in a circle*, for the same reason: the holder of the highest number waits for nobody.
//! The deepest handler, which would need one heap more, gets null.
//!
//! Heaps share nothing, not even the lock of the page heap. One that is never used costs no memory.
//!
//! Rejected: a lock that knows its owner and gives null to it. A handler that interrupts the
//! emergency path then fails for no reason that the program could know of.

use core::{
    ptr::{self, NonNull},
    sync::atomic::{Ordering, compiler_fence},
};

use super::{EMERGENCY, EMERGENCY_HEAPS, GlobalCache, HEAP, LEVELS, Place, or_null};
use crate::{Error, Heap, pages::os::Os};

/// Allocates from the emergency heap of this depth; null if all are in use below us on the stack.
#[cold]
#[inline(never)]
pub(super) fn alloc<P: Place>(
    alloc: impl FnOnce(&mut GlobalCache) -> Result<NonNull<u8>, Error>,
) -> *mut u8 {
    P::with(|words| {
        let depth = words.depth.get();
        let Some(cache) = EMERGENCY.get(usize::from(depth)) else { return ptr::null_mut() };
        words.depth.set(depth + 1);
        // A handler sees the depth before we hold the lock, and until after we gave it back.
        compiler_fence(Ordering::SeqCst);
        let block = alloc(&mut cache.lock());
        compiler_fence(Ordering::SeqCst);
        words.depth.set(depth);
        or_null(block)
    })
}

/// The heap that gave out `block`.
pub(super) fn heap_of(block: NonNull<u8>) -> Option<&'static Heap<Os>> {
    let heaps = [&HEAP].into_iter().chain(&EMERGENCY_HEAPS);
    heaps.into_iter().find(|heap| heap.contains(block))
}

/// Frees a block without a cache; never waits. `false` if no heap here gave it out.
///
/// # Safety
///
/// The caller gives up a block, if it is one of ours.
#[cold]
pub(super) unsafe fn free(block: NonNull<u8>) -> bool {
    let Some(heap) = heap_of(block) else { return false };
    // SAFETY: promised by the caller.
    unsafe { heap.free(block) };
    true
}

/// Gives back what was served here and is free again. For a thread that handlers of signals do not interrupt:
/// one would wait for this thread.
///
/// All at once, without regard to age: what a heap here served once it serves hardly again.
pub(super) fn release() {
    for (cache, heap) in EMERGENCY.iter().zip(&EMERGENCY_HEAPS) {
        if heap.has_resting_memory() {
            cache.lock().release();
        }
    }
}

/// Whether some of it may be free again.
pub(super) fn rests() -> bool {
    EMERGENCY_HEAPS.iter().any(Heap::has_resting_memory)
}

/// Bytes that the heaps have at most.
pub(super) fn held() -> usize {
    EMERGENCY_HEAPS.iter().map(|heap| heap.stats().resident_at_most()).sum()
}

/// Takes every lock of the emergency heaps.
pub(super) fn lock_all() {
    for level in 0..LEVELS {
        EMERGENCY[level].acquire();
        EMERGENCY_HEAPS[level].lock_all();
    }
}

/// Undoes [`lock_all`].
///
/// # Safety
///
/// This thread called `lock_all`, or is the child's copy of the one that did.
pub(super) unsafe fn unlock_all() {
    for level in (0..LEVELS).rev() {
        // SAFETY: promised by the caller.
        unsafe {
            EMERGENCY_HEAPS[level].unlock_all();
            EMERGENCY[level].release();
        }
    }
}
