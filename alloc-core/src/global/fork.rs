//! The heap in a process that forks while other threads allocate.
//!
//! The child has one thread, the caller's copy, and a copy of all memory at a moment when the others were
//! anywhere. So the caller takes all locks before the fork and releases them in parent and child: what
//! they guard is whole in the child. What is guarded by no lock:
//!
//! * *Words of spans* ([`remote`](crate::remote)) change by one exchange each. A span that another thread is just
//!   bringing to its central is lost to the child, and so are cells that it has marked and not counted yet.
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
//! no lock is needed. The thread's words tell it, and for the cache of a processor [`Place::is_amid`]. What the
//! handler allocates in the child comes from the emergency heap, as in the parent.
//!
//! *No handler interrupts a fork* while all locks are held: signals are off from the first lock to the last
//! ([`Undisturbed`]), in the child as well. A handler that allocates would need one of them, one that forks would
//! give them all back, and a scheduler that is entered there might set the task aside with them. Before the first
//! lock libc has taken one of its own, of its list of handlers: a `fork` in a handler that comes just there waits for
//! itself, whatever the allocator. `_Fork` takes none.
//!
//! Rejected: *null to such a handler*, which was here before. It does well for the thread's own cache, whose words
//! say that it forks. A processor's is found by others' words.

use super::{FAULTS_BEFORE, FORKS_MASK, HEAP, KEY, POOL, Place, Words, emergency, thread};
use crate::undisturbed::Undisturbed;

/// Installs the handlers; `false` if libc has no memory for that.
pub(super) fn install<P: Place>() -> bool {
    let (parent, child) = (after_in_parent::<P>, after_in_child::<P>);
    // SAFETY: the handlers only take and release this crate's locks, and allocate nothing.
    unsafe { libc::pthread_atfork(Some(before::<P>), Some(parent), Some(child)) == 0 }
}

unsafe extern "C" fn before<P: Place>() {
    let undisturbed = Undisturbed::new();
    if P::is_amid() || !P::with(Words::begin_fork) {
        return;
    }
    KEY.acquire();
    FAULTS_BEFORE.acquire();
    POOL.acquire();
    HEAP.lock_all();
    // Last: whoever holds one of the heap's may be interrupted by a handler that waits for the emergency cache.
    emergency::lock_all();
    *FORKS_MASK.lock() = Some(undisturbed.keep());
}

unsafe extern "C" fn after_in_parent<P: Place>() {
    // SAFETY: this thread called `before`.
    P::with(|words| unsafe { end(words, |_| ()) });
}

unsafe extern "C" fn after_in_child<P: Place>() {
    // SAFETY: the child has this thread alone, which is not in the middle of an allocation.
    let adopt = |words: &Words| unsafe { thread::adopt_orphans(words) };
    P::with(|words| {
        // The processor is left behind, and a cache of the thread's own would want the locks of what was interrupted.
        if P::is_amid() {
            words.go_without();
        }
        // SAFETY: the parent's copy of this thread called `before`.
        unsafe { end(words, adopt) }
    });
}

/// Undoes what [`before`] did, if it took the locks, and does `then` as soon as they are free.
///
/// # Safety
///
/// The fork is done, and this thread called [`before`], or is the child's copy of the one that did.
unsafe fn end(words: &Words, then: impl FnOnce(&Words)) {
    if !words.is_forking() {
        return;
    }
    let mask = FORKS_MASK.lock().take();
    // SAFETY: promised by the caller, for each lock.
    unsafe {
        emergency::unlock_all();
        HEAP.unlock_all();
        POOL.release();
        FAULTS_BEFORE.release();
        KEY.release();
    }
    then(words);
    words.end_fork();
    drop(mask.map(Undisturbed::resume));
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::{
        global::{EMERGENCY, StdPlace},
        task,
    };

    #[test]
    fn who_forks_waits_for_no_lock_with_the_one_that_handlers_wait_for() {
        let (to, from) = mpsc::channel();
        // As a thread that a handler interrupts here.
        let pages = HEAP.pages.lock();
        let forker = thread::spawn(move || {
            to.send(task::number()).unwrap();
            // SAFETY: the handlers of a fork, in their order.
            unsafe {
                before::<StdPlace>();
                after_in_parent::<StdPlace>();
            }
        });
        let number = from.recv().unwrap();
        while !task::sleeps(number) {
            thread::yield_now();
        }
        // Other tests may have it for a moment.
        let handler = (0..100_000).any(|_| {
            thread::yield_now();
            EMERGENCY.try_lock().is_some()
        });
        drop(pages);
        forker.join().unwrap();
        assert!(
            handler,
            "a handler would wait for who forks, and who forks for what it interrupted"
        );
    }
}
