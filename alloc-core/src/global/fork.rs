//! The heap in a process that forks while other threads allocate.
//!
//! The child has one thread, the caller's copy, and a copy of all memory at a moment when the others were
//! anywhere. So the caller takes all locks before the fork and releases them in parent and child: what
//! they guard is whole in the child. What is guarded by no lock:
//!
//! * *Words of spans* ([`remote`](crate::remote)) change by one exchange. A span that another thread is just
//!   bringing to its central is lost to the child.
//! * *What a scavenger has in hand*: it holds a lock of the heap's for that time (`hands`), which is taken first.
//! * *Caches* of the threads that the child does not have: those not in use at that moment go back to the
//!   pool, the others are lost with what they hold.
//! * Locks of collected spans are left out: no collector runs in a child.
//!
//! The handlers are installed at the first allocation, hence before those of others. So they run last
//! before a fork and first after it, and other handlers may allocate.
//!
//! A handler of a signal may fork, too, and may have interrupted the allocator in the very thread that now
//! runs these functions: it would wait for locks that it holds itself. Such a fork takes no lock. POSIX lets
//! the child of a threaded process use async-signal-safe functions only; in a process with one thread
//! no lock is needed.
//!
//! A handler that interrupts the fork itself, while all locks are held, gets null: any heap would need
//! one of them. It may free.

use super::{HEAP, KEY, POOL, Place, Words, emergency, thread};

/// Installs the handlers; `false` if libc has no memory for that.
pub(super) fn install<P: Place>() -> bool {
    let (parent, child) = (after_in_parent::<P>, after_in_child::<P>);
    // SAFETY: the handlers only take and release this crate's locks, and allocate nothing.
    unsafe { libc::pthread_atfork(Some(before::<P>), Some(parent), Some(child)) == 0 }
}

unsafe extern "C" fn before<P: Place>() {
    if P::with(Words::begin_fork) {
        KEY.acquire();
        POOL.acquire();
        emergency::lock_all();
        HEAP.lock_all();
    }
}

unsafe extern "C" fn after_in_parent<P: Place>() {
    P::with(|words| {
        if words.is_forking() {
            // SAFETY: `before` took the locks in this thread.
            unsafe { unlock_all() }
        }
        words.end_fork();
    });
}

unsafe extern "C" fn after_in_child<P: Place>() {
    P::with(|words| {
        if words.is_forking() {
            // SAFETY: the parent's copy of this thread took the locks in `before`.
            unsafe { unlock_all() }
            // SAFETY: the child has this thread alone, which is not in the middle of an allocation.
            unsafe { thread::adopt_orphans(words) }
        }
        words.end_fork();
    });
}

/// # Safety
///
/// This thread took all the locks, or is the child's copy of the one that did.
unsafe fn unlock_all() {
    // SAFETY: promised by the caller, for each lock.
    unsafe {
        HEAP.unlock_all();
        emergency::unlock_all();
        POOL.release();
        KEY.release();
    }
}
