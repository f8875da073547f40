//! Allocation where no cache can be used: in a handler that interrupted an allocation, after the thread gave
//! its cache back, and while the scavenger has the cache on loan.
//!
//! Such a caller gets its block from the *emergency heap*: a heap of its own with one cache behind a lock. The
//! handler may have interrupted a thread that holds locks of the main heap, and would wait for itself there.
//! The two heaps share nothing, not even the lock of the page heap. One that is never used costs no memory.
//!
//! *The memory limit counts what it holds*, and refuses nothing here: a handler cannot wait until others have given
//! memory back. The main heap makes room for it at its next allocation. That looks at the account with a lock in
//! hand, so it is one word, [`EMERGENCY_HELD`].
//!
//! *Nobody is interrupted here* ([`Undisturbed`]): else the next handler would wait for the lock of this heap,
//! and a scheduler might set a task aside in the middle, with a lock that those need who hold all its
//! processors. The same holds for frees without a cache, which take locks of the main heap, if not by waiting.
//! Two system calls for each, where callers are few and in a hurry for nothing.
//!
//! Rejected: *as many heaps as handlers may be nested*, with a thread in the middle of `n` of them at number
//! `n`. It needs no system call, but a task that was preempted with a heap's lock stopped the scheduler for ever,
//! as soon as tasks came here whose processor's cache was on loan. *A promise by [`Binding`](super::Binding) that
//! its caller stays where it is while this goes on*: it would keep tasks away, and not handlers.

use core::ptr::{self, NonNull};

use super::{
    EMERGENCY, EMERGENCY_HEAP, EMERGENCY_HELD, GlobalCache, HEAP, Place, Words, allocator::or_null,
};
use crate::{
    Error, Heap,
    pages::os::Os,
    sync::{LockGuard, Ordering},
    undisturbed::Undisturbed,
};

/// Allocates from the emergency heap; null in a thread that forks, as it holds all locks for that: to a fault's
/// handler, or one of libc's for forks that came before ours.
#[cold]
#[inline(never)]
pub(super) fn alloc<P: Place>(
    alloc: impl FnOnce(&mut GlobalCache) -> Result<NonNull<u8>, Error>,
) -> *mut u8 {
    let _undisturbed = Undisturbed::new();
    if P::with(Words::is_forking) {
        return ptr::null_mut();
    }
    let mut cache = EMERGENCY.lock();
    let block = alloc(&mut cache);
    note_held(cache);
    or_null(block)
}

/// The heap that gave out `block`.
pub(super) fn heap_of(block: NonNull<u8>) -> Option<&'static Heap<Os>> {
    let heaps = [&HEAP, &EMERGENCY_HEAP];
    heaps.into_iter().find(|heap| heap.contains(block))
}

/// Frees a block without a cache; never waits. `false` if no heap here gave it out. For a thread that is
/// [`Undisturbed`]: who frees a block of this heap from inside of the main one is, too.
///
/// # Safety
///
/// The caller gives up a block, if it is one of ours.
#[cold]
pub(super) unsafe fn free(block: NonNull<u8>) -> bool {
    let Some(heap) = heap_of(block) else { return false };
    // SAFETY: promised by the caller.
    unsafe { heap.free_undisturbed(block) };
    true
}

/// Gives back what was served here and is free again. For a thread that is [`Undisturbed`].
///
/// All at once, without regard to age: what was served here once is hardly served again.
pub(super) fn release() {
    if rests() {
        EMERGENCY.lock().flush();
        // Without the cache's lock: it makes system calls.
        EMERGENCY_HEAP.release();
        note_held(EMERGENCY.lock());
    }
}

/// Whether some of it may be free again.
pub(super) fn rests() -> bool {
    EMERGENCY_HEAP.has_resting_memory()
}

/// Bytes that the heap has at most: one load, for those who have locks of the main heap.
pub(super) fn held() -> usize {
    // Relaxed: a number that says no more than itself.
    EMERGENCY_HELD.load(Ordering::Relaxed)
}

/// Brings [`held`] up to date: after the heap may have grown or shrunk, one after the other.
fn note_held(_cache: LockGuard<'_, GlobalCache>) {
    // Relaxed: as above.
    EMERGENCY_HELD.store(EMERGENCY_HEAP.stats().resident_at_most(), Ordering::Relaxed);
}

/// Takes every lock here.
pub(super) fn lock_all() {
    EMERGENCY.acquire();
    EMERGENCY_HEAP.lock_all();
}

/// Undoes [`lock_all`].
///
/// # Safety
///
/// This thread called `lock_all`, or is the child's copy of the one that did.
pub(super) unsafe fn unlock_all() {
    // SAFETY: promised by the caller.
    unsafe {
        EMERGENCY_HEAP.unlock_all();
        EMERGENCY.release();
    }
}
