//! A stretch in which no handler of a signal interrupts the calling thread.
//!
//! # Problem
//!
//! Some calls on the heap of the process take locks that allocations take too: `stats`, `release`, a step of
//! the scavenger. Whoever interrupts such a call *on the same thread* and allocates would wait for a lock that
//! can only be released underneath it. A program's handler may do that. So does a scheduler that sets tasks
//! aside by a signal: the next task on that thread allocates, and so do those on all others.
//!
//! Allocations themselves are safe from it, by their cache that is found in use (see `global`) or by an entry
//! into the scheduler, too short and too many for a system call. The calls named above are rare and take
//! microseconds at least: two system calls of 0.1 µs keep signals off for as long.
//!
//! Signals that arrive meanwhile come afterwards. Those that the thread causes itself, as a fault, end the
//! process, as they would in any lock.
//!
//! A fork is such a stretch too, from the function before it to those after it: see `global/fork.rs`.
//!
//! Only the heap of the process does so. Whoever makes a [`Heap`](crate::Heap) of their own decides who
//! interrupts whom.

#[cfg(feature = "global")]
use core::mem;
use core::{marker::PhantomData, mem::MaybeUninit, ptr};

/// While this lives, the thread that made it is interrupted by no handler. They may be nested.
pub(crate) struct Undisturbed {
    before: libc::sigset_t,
    /// The mask is the thread's.
    _here: PhantomData<*const ()>,
}

impl Undisturbed {
    pub(crate) fn new() -> Self {
        let (mut every, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: both sets are written before they are read. Neither call can fail with these arguments; the C
        // library leaves its own two signals out.
        let before = unsafe {
            libc::sigfillset(every.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, every.as_ptr(), before.as_mut_ptr());
            before.assume_init()
        };
        Undisturbed { before, _here: PhantomData }
    }

    /// Goes on after the caller has returned, until [`Undisturbed::resume`] has had the mask that this gives.
    #[cfg(feature = "global")]
    pub(crate) fn keep(self) -> libc::sigset_t {
        let before = self.before;
        mem::forget(self);
        before
    }

    /// The one that was kept: it ends as this is dropped, in the thread that began it, or in its copy in the child
    /// of a fork.
    #[cfg(feature = "global")]
    pub(crate) fn resume(before: libc::sigset_t) -> Self {
        Undisturbed { before, _here: PhantomData }
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        // SAFETY: the mask that this thread had, as it cannot have left the thread.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
    }
}
