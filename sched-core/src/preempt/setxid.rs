//! libc's signal for `setuid`, `setgid` and their kin.
//!
//! Linux credentials belong to a thread; POSIX's to the process. So glibc has every thread change
//! its own: it sends signal 33 to each and waits until each has cleared a bit in its header. Its
//! handler looks for the header behind the thread pointer, where a goroutine's is, and never clears
//! the thread's: `setuid` hangs. This wrapper lends the thread its own pointer for the time of the
//! handler.
//!
//! The handler is installed by libc with its first thread, in the kernel, and not to be had through
//! `sigaction`, which hides the signal: hence the raw calls.

use core::ffi::{c_int, c_void};
use core::ptr::{null, null_mut};
use core::sync::atomic::Ordering;

use super::signal::{BEFORE_SETXID, Handler, glue};
use crate::tls::own::{set_thread_pointer, thread_pointer};
use crate::tls::words;

const SIGSETXID: c_int = 33;

/// The kernel's `struct sigaction`, which is not libc's.
#[repr(C)]
struct KernelAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// Puts the wrapper around libc's handler, if there is one.
pub(super) fn wrap() {
    let mut action = KernelAction { handler: 0, flags: 0, restorer: 0, mask: 0 };
    // SAFETY: asks for the action, in the kernel's own layout.
    let failed = unsafe { rt_sigaction(null(), &mut action) };
    if failed || action.handler == libc::SIG_DFL || action.handler == libc::SIG_IGN {
        return;
    }
    // SAFETY: libc installs it with SA_SIGINFO.
    let handler = unsafe { core::mem::transmute::<usize, Handler>(action.handler) };
    BEFORE_SETXID.get_or_init(|| handler);
    action.handler = on_setxid as unsafe extern "C" fn(_, _, _) as usize;
    // No other handler may see the thread's own block where it expects the goroutine's.
    action.mask = u64::MAX;
    // SAFETY: flags and restorer are libc's, the handler has libc's signature.
    unsafe { rt_sigaction(&action, null_mut()) };
}

/// # Safety
///
/// As `sigaction` says: `new` is null or sound to install.
unsafe fn rt_sigaction(new: *const KernelAction, old: *mut KernelAction) -> bool {
    // SAFETY: the caller's promise.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, SIGSETXID, new, old, size_of::<u64>()) != 0 }
}

unsafe extern "C" fn on_setxid(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(handler) = BEFORE_SETXID.get() else { return };
    match thread_pointer_of_thread() {
        // SAFETY: libc's own handler with its arguments; the pointer is this thread's. Signals are
        // blocked, so nothing else runs meanwhile.
        Some((goroutine, thread)) => unsafe {
            set_thread_pointer(thread);
            handler(signal, info, context);
            set_thread_pointer(goroutine);
        },
        // SAFETY: as above; the block is the thread's own already.
        None => unsafe { handler(signal, info, context) },
    }
}

/// The goroutine's and the thread's own pointer, if they differ.
fn thread_pointer_of_thread() -> Option<(usize, usize)> {
    let words = words();
    // Relaxed: this thread's own, from before it switched here.
    let (m, g) = (words.m.load(Ordering::Relaxed), words.g.load(Ordering::Relaxed));
    let glue = glue().filter(|_| !m.is_null() && !g.is_null())?;
    // SAFETY: `install`'s caller: an M found in words has a thread part, which stays.
    let thread = unsafe { (*(glue.thread)(m)).thread_pointer() }?;
    Some((thread_pointer(), thread))
}
