//! Suspended stacks, and the switch from one to another.
//!
//! # Problem
//!
//! A goroutine that parks must stop in the middle of a call, and another must go on in the middle
//! of its own. Everything the calling convention lets a callee rely on must be as it was: stack,
//! callee-saved registers, floating-point control words, and, since each goroutine is a thread to
//! libc, the thread pointer.
//!
//! # Two kinds behind one type
//!
//! | | own TLS (`x86_64`, `aarch64`) | thread mode (`baton`) |
//! |---|---|---|
//! | a context is | a stack pointer and a thread pointer | a kernel thread and its baton |
//! | `switch(from, to)` | save, load, return | post `to`'s baton, wait for `from`'s |
//! | who runs after it | the same kernel thread | the thread of `to` |
//! | cost | tens of nanoseconds | two futex calls |
//!
//! The scheduler above is the same. In thread mode an M is a *role*: it goes from thread to thread
//! with the baton, and whoever holds the baton runs the M's code. [`Context::thread`] says which
//! kernel thread that will be.
//!
//! # The order at a switch
//!
//! `from` is complete only when the switch is over, and in thread mode `to` may run before `from`
//! waits. So whatever makes `from` known to others (its *commit*) is done by the code that `to`
//! continues with. A baton that is posted before its owner waits is kept.
//!
//! # Source
//!
//! Go's `gogo`/`mcall` (`asm_amd64.s`) for the use; corosensei's `arch` for how to write one down.

use core::cell::UnsafeCell;
use core::fmt;
use core::ptr;

use crate::preempt::Registers;
#[cfg(own_tls)]
use crate::sync::prefetch;
use crate::tls::Mode;

#[cfg(own_tls)]
#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
pub(crate) mod arch;
mod baton;

use baton::Baton;
pub use baton::ThreadId;

/// Bytes from the stack pointer up to which a goroutine that parks in a channel or a lock has its frames, and
/// then its thread-local words. Measured on x86-64, in a million of them: to wake and join one takes 500 ns
/// in place of 800 (bench `parked-1m`).
#[cfg(own_tls)]
const WARM: usize = 1536;

/// A suspended flow of control, or a place to suspend the running one in.
///
/// The goroutine's lies in its slot ([`crate::stack::Slot::context`]); an M makes one for its own
/// thread's stack with [`Context::of_thread`].
///
/// ```
/// use sched_core::context::Context;
/// use sched_core::tls::{Surplus, probe};
///
/// let mine = Context::of_thread(probe(Surplus::Take));
/// assert_ne!(mine.thread().expect("runs on this thread").tid(), 0);
/// ```
#[repr(C)]
pub struct Context {
    /// Own TLS: the stack pointer while suspended. Written by the switch away, read by the switch
    /// to it, which the scheduler orders after. Thread mode: the address of the [`Registers`] at which the
    /// thread stands while it waits, else 0; written by the thread.
    sp: UnsafeCell<usize>,
    /// Own TLS: the thread pointer, constant. 0 in thread mode.
    tp: usize,
    /// Thread mode: where the thread waits; and who it is, in both.
    baton: Baton,
}

// SAFETY: `sp` is accessed by what runs in the context, or by who has it suspended: callers promise that
// one thread at a time does so for one context, each ordered after the last; `Baton` is Sync itself.
unsafe impl Sync for Context {}

impl Context {
    /// A place to suspend the running thread's own stack in.
    pub fn of_thread(mode: Mode) -> Context {
        let tp = match mode {
            Mode::OwnTls(layout) => layout.running_thread_pointer(),
            Mode::Threads { .. } => 0,
        };
        Context { sp: UnsafeCell::new(0), tp, baton: Baton::of_this_thread() }
    }

    /// A goroutine's, in a slot with a TLS block at `tp`. [`Context::resume_at`] says where.
    #[cfg(own_tls)]
    pub(crate) fn of_block(tp: usize) -> Context {
        Context { sp: UnsafeCell::new(0), tp, baton: Baton::of_no_thread() }
    }

    /// A goroutine's in thread mode. The thread presents itself with [`Context::adopt`].
    pub(crate) fn of_future_thread() -> Context {
        Context { sp: UnsafeCell::new(0), tp: 0, baton: Baton::of_no_thread() }
    }

    /// Where the context resumes when it is next switched to.
    ///
    /// # Safety
    ///
    /// The context is suspended, or new, and the caller's alone.
    #[cfg(own_tls)]
    pub(crate) unsafe fn resume_at(&self, sp: usize) {
        // SAFETY: the caller's promise.
        unsafe { *self.sp.get() = sp };
    }

    /// Where it goes on; in thread mode, where its thread stands.
    ///
    /// # Safety
    ///
    /// The context is suspended and the caller's, and has run before.
    pub(crate) unsafe fn suspended_at(&self) -> Option<Registers> {
        // SAFETY: the caller's promise.
        let sp = unsafe { *self.sp.get() };
        #[cfg(own_tls)]
        if self.tp != 0 {
            // SAFETY: as above.
            return Some(unsafe { arch::suspended_at(sp) });
        }
        // SAFETY: null, or what `standing_at` borrows until the thread goes on.
        unsafe { ptr::with_exposed_provenance::<Registers>(sp).as_ref().copied() }
    }

    /// Thread mode: whoever looks at the context during `wait` finds it at `place`. The outermost of several
    /// counts.
    ///
    /// # Safety
    ///
    /// The context is the running thread's, before and after `wait`.
    #[inline(always)]
    pub(crate) unsafe fn standing_at(&self, place: &Registers, wait: impl FnOnce()) {
        let sp = self.sp.get();
        // SAFETY: the caller's promise.
        let before = unsafe { *sp };
        if before == 0 {
            // SAFETY: as above.
            unsafe { *sp = ptr::from_ref(place).expose_provenance() };
        }
        wait();
        // SAFETY: as above.
        unsafe { *sp = before };
    }

    /// Asks memory for the innermost frames, all at once.
    ///
    /// A stack that has waited for long is in no cache, and the functions that return on it, one after the
    /// other, would wait for each of its lines in turn.
    ///
    /// # Safety
    ///
    /// The context is suspended, or new, and the caller's alone.
    #[inline]
    pub(crate) unsafe fn warm(&self) {
        #[cfg(own_tls)]
        if self.tp != 0 {
            // SAFETY: the caller's promise.
            let sp = unsafe { *self.sp.get() };
            (0..WARM).step_by(64).for_each(|line| prefetch(sp.wrapping_add(line)));
        }
    }

    /// Thread mode: the running thread is this context's from now on.
    pub(crate) fn adopt(&self) {
        self.baton.adopt();
    }

    /// Thread mode: the context has no thread from now on, as that is about to end.
    pub(crate) fn forget_thread(&self) {
        self.baton.forget();
    }

    /// Thread mode: waits until somebody switches to this context.
    pub(crate) fn wait(&self) {
        self.baton.wait();
    }

    /// Thread mode: lets the context's thread go on, without waiting for anything.
    pub(crate) fn post(&self) {
        self.baton.post();
    }

    /// The kernel thread that runs after a switch to this context. `None`: the one that switches,
    /// which is the case for goroutines with own TLS.
    pub fn thread(&self) -> Option<ThreadId> {
        self.baton.thread()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("tp", &self.tp).field("thread", &self.thread()).finish()
    }
}

/// Suspends the running flow of control in `from` and resumes `to`. Returns when somebody switches
/// to `from`, in thread mode on the same kernel thread, with own TLS on any.
///
/// # Safety
///
/// * `from` belongs to what runs now: to the slot whose stack this is, or to this thread.
/// * `to` is suspended, or an armed slot's; nobody else switches to it, and what was done there
///   last happens before this call.
/// * Both are of the same [`Mode`], and stay where they are until they are done with.
/// * `in_runtime` is set on both sides: no signal may move either meanwhile.
#[inline]
pub unsafe fn switch(from: &Context, to: &Context) {
    #[cfg(own_tls)]
    if to.tp != 0 {
        // SAFETY: `to` was left by this very function, or prepared by `first_frame`; the caller's
        // promise says that its stack pointer is complete and that nobody else uses it.
        return unsafe { arch::switch(from.sp.get(), *to.sp.get(), to.tp) };
    }
    let here = Registers::here();
    // SAFETY: the context of what runs now, on this thread.
    unsafe {
        from.standing_at(&here, || {
            to.post();
            from.wait();
        });
    }
}
