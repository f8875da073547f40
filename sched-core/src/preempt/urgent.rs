//! The handler of SIGURG. The rules are the [module's](super).

use core::ffi::{c_int, c_void};
use core::sync::atomic::Ordering;

use super::signal::{glue, pass_on};
use super::{Glue, MThread};
use crate::entry::Fence;
use crate::tls::{Words, words};

/// # Safety
///
/// Installed for SIGURG with `SA_SIGINFO`, all signals blocked.
pub(super) unsafe extern "C" fn on_urgent(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    let words = words();
    // SAFETY: `install`'s caller promised that what is found in words is an M.
    let marked = unsafe { marked_thread(words) };
    let Some((glue, thread)) = marked else {
        // SAFETY: our own arguments. A SIGURG for which nobody asked is ignored by default.
        unsafe { pass_on(signal, info, context) };
        return;
    };
    if words.entry.inside() {
        return;
    }
    // SAFETY: the kernel's record of what was interrupted, ours until we return.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    if thread.own_tls() {
        #[cfg(own_tls)]
        // SAFETY: a marked M interrupted outside the runtime.
        unsafe {
            thread.count(inject(words, glue, thread, context));
        }
    } else {
        // SAFETY: likewise; nothing moves in thread mode.
        unsafe { yield_in_handler(words, glue, context) };
        thread.count(true);
    }
}

/// The M whose thread this is, if it is marked; takes the mark.
///
/// # Safety
///
/// As [`on_urgent`].
unsafe fn marked_thread(words: &Words) -> Option<(&'static Glue, &'static MThread)> {
    // Relaxed: this thread's own M, from before it switched here.
    let m = words.m.load(Ordering::Relaxed);
    let glue = glue().filter(|_| !m.is_null())?;
    // SAFETY: `install`'s caller: an M found in words has a thread part, which stays.
    let thread = unsafe { &*(glue.thread)(m) };
    thread.take_mark().then_some((glue, thread))
}

/// Thread mode: the thread waits here for its turn.
///
/// # Safety
///
/// In the handler, outside the runtime.
unsafe fn yield_in_handler(words: &Words, glue: &Glue, context: &libc::ucontext_t) {
    if words.g.load(Ordering::Relaxed).is_null() {
        return;
    }
    // A full fence, which pairs with either kind of taker's barrier.
    let _ = words.entry.return_inside(&Fence);
    // SAFETY: the running thread's errno; the mask is the interrupted one and SIGURG: other
    // signals need not wait as long as we do. `install`'s caller for the yield.
    unsafe {
        let errno = *libc::__errno_location();
        let mut mask = context.uc_sigmask;
        libc::sigaddset(&mut mask, libc::SIGURG);
        libc::pthread_sigmask(libc::SIG_SETMASK, &mask, core::ptr::null_mut());
        (glue.yield_now)();
        *libc::__errno_location() = errno;
    }
    words.entry.leave();
}

/// Own TLS: lets the interrupted code call the trampoline, if the rules allow it.
///
/// # Safety
///
/// In the handler of a marked M's thread, outside the runtime.
#[cfg(own_tls)]
unsafe fn inject(
    words: &Words,
    glue: &Glue,
    thread: &MThread,
    context: &mut libc::ucontext_t,
) -> bool {
    // Relaxed: as in `marked_thread`.
    let g = words.g.load(Ordering::Relaxed);
    if g.is_null() || !thread.has_base_mask(context) {
        return false;
    }
    // SAFETY: `install`'s caller; `g` runs here.
    let stack = unsafe { (glue.stack)(g) };
    let interrupted = super::inject::Interrupted::new(context);
    if !stack.movable || !interrupted.has_room(&stack.bounds) || !interrupted.is_saveable() {
        return false;
    }
    // A full fence, which pairs with either kind of taker's barrier. Set here, so that no second
    // signal finds the trampoline outside the runtime.
    let _ = words.entry.return_inside(&Fence);
    // SAFETY: the goroutine has room, and its state can be saved.
    unsafe { interrupted.call_trampoline() };
    true
}
