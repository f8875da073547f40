//! The handler of SIGURG. The rules are the [module's](super).

use core::ffi::{c_int, c_void};
use core::sync::atomic::Ordering;

#[cfg(injection)]
use super::inject::Interrupted;
use super::signal::{glue, pass_on};
use super::{Glue, MThread, Registers};
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
    let here = unsafe { thread_of(words) };
    // SAFETY: in the handler, with its argument.
    let shown = here.is_some_and(|(glue, thread)| unsafe { show(words, glue, thread, context) });
    let Some((glue, thread)) = here.filter(|(_, thread)| thread.take_mark()) else {
        if shown {
            return;
        }
        // SAFETY: our own arguments. A SIGURG for which nobody asked is ignored by default.
        unsafe { pass_on(signal, info, context) };
        return;
    };
    if words.undisturbed() {
        return;
    }
    // SAFETY: the kernel's record of what was interrupted, ours until we return.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // Relaxed: as in `thread_of`.
    let g = words.g.load(Ordering::Relaxed);
    if g.is_null() {
        return;
    }
    // SAFETY: `g` runs on this marked M, and was interrupted outside the runtime.
    match unsafe { way(g, glue, thread, context) } {
        #[cfg(injection)]
        Way::LetGo => thread.note_refusal(),
        // SAFETY: as above.
        Way::Stay => unsafe { yield_in_handler(words, glue, thread, context) },
        #[cfg(injection)]
        Way::Inject => {
            thread.note_success();
            // A full fence, which pairs with either kind of taker's barrier. Set here, so that no
            // second signal finds the trampoline outside the runtime.
            let _ = words.entry.return_inside(&Fence);
            // SAFETY: `way` has looked: the goroutine has room, and its state can be saved.
            unsafe { Interrupted::new(context).call_trampoline() };
        }
    }
}

/// What becomes of an interrupted goroutine.
enum Way {
    /// It goes on: it may be about to get where it can be moved.
    #[cfg(injection)]
    LetGo,
    /// Its thread waits in the handler.
    Stay,
    /// It calls the trampoline.
    #[cfg(injection)]
    Inject,
}

/// Decides by the module's rules.
///
/// # Safety
///
/// In the handler of a marked M's thread, which runs `g`, outside the runtime.
#[cfg(injection)]
unsafe fn way(g: *mut (), glue: &Glue, thread: &MThread, context: &mut libc::ucontext_t) -> Way {
    // SAFETY: `install`'s caller; `g` runs here.
    let stack = unsafe { (glue.stack)(g) };
    if !thread.own_tls() || !stack.movable {
        return Way::Stay;
    }
    let has_base_mask = thread.has_base_mask(context);
    let interrupted = Interrupted::new(context);
    if has_base_mask && interrupted.has_room(&stack.bounds) && interrupted.is_saveable() {
        Way::Inject
    } else if thread.refused() == 0 {
        Way::LetGo
    } else {
        Way::Stay
    }
}

/// Nothing can be moved on this target.
///
/// # Safety
///
/// As of its counterpart.
#[cfg(not(injection))]
unsafe fn way(_: *mut (), _: &Glue, _: &MThread, _: &mut libc::ucontext_t) -> Way {
    Way::Stay
}

/// The M whose thread this is.
///
/// # Safety
///
/// As [`on_urgent`].
unsafe fn thread_of(words: &Words) -> Option<(&'static Glue, &'static MThread)> {
    // Relaxed: this thread's own M, from before it switched here.
    let m = words.m.load(Ordering::Relaxed);
    let glue = glue().filter(|_| !m.is_null())?;
    // SAFETY: `install`'s caller: an M found in words has a thread part, which stays.
    Some((glue, unsafe { &*(glue.thread)(m) }))
}

/// Fills the probe that somebody has lent the M. False if nobody has.
///
/// # Safety
///
/// In the handler on the M's thread, with its argument.
unsafe fn show(words: &Words, glue: &Glue, thread: &MThread, context: *mut c_void) -> bool {
    let Some(probe) = thread.take_probe() else { return false };
    // Relaxed: as in `thread_of`.
    let g = words.g.load(Ordering::Relaxed);
    // SAFETY: `install`'s caller; `g` runs here.
    let stack = (!g.is_null()).then(|| unsafe { (glue.stack)(g) }.bounds);
    // SAFETY: the kernel's record of what was interrupted.
    let registers = Registers::interrupted(unsafe { &*context.cast::<libc::ucontext_t>() });
    probe.answer(g, stack, registers);
    true
}

/// The thread waits here until its goroutine has its turn.
///
/// # Safety
///
/// In the handler of a thread that runs a goroutine, outside the runtime.
unsafe fn yield_in_handler(
    words: &Words,
    glue: &Glue,
    thread: &MThread,
    context: &libc::ucontext_t,
) {
    thread.note_success();
    // A full fence, which pairs with either kind of taker's barrier.
    let _ = words.entry.return_inside(&Fence);
    // SAFETY: the running thread's errno; the mask is the interrupted one and SIGURG: other
    // signals need not wait as long as we do. `install`'s caller for the yield.
    unsafe {
        let errno = *libc::__errno_location();
        let mut mask = context.uc_sigmask;
        libc::sigaddset(&mut mask, libc::SIGURG);
        libc::pthread_sigmask(libc::SIG_SETMASK, &mask, core::ptr::null_mut());
        (glue.yield_here)(Registers::interrupted(context));
        *libc::__errno_location() = errno;
    }
    words.entry.leave();
}
