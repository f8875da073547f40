//! SIGSEGV and SIGBUS: a goroutine that has used up its stack is named.
//!
//! A fault in the guard page of the goroutine that runs is its overflow. The handler runs on the
//! M's alternate stack, has the scheduler say whose stack it was, and aborts. Any other fault goes
//! to the handler before ours (std's, which knows the stacks of plain threads), or to the default.
//!
//! Compilers touch every page of a large frame in order, so a frame cannot step over the guard.

use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr::null_mut;
use core::sync::atomic::Ordering;

use super::signal::{glue, pass_on};
use crate::tls::words;

/// Bytes below a stack whose touch is an overflow: the largest page a machine may have, as what lies below
/// a guard that is smaller does not fault.
const GUARD_BYTES: usize = if cfg!(target_arch = "aarch64") { 64 * 1024 } else { 4096 };

pub(super) unsafe extern "C" fn on_segv(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    // SAFETY: a handler's arguments.
    unsafe { on_fault(signal, info, context) }
}

pub(super) unsafe extern "C" fn on_bus(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    // SAFETY: a handler's arguments.
    unsafe { on_fault(signal, info, context) }
}

/// # Safety
///
/// In the handler of `signal`, with its arguments.
unsafe fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel fills in the address for these two signals.
    let address = unsafe { (*info).si_addr() } as usize;
    // SAFETY: on the faulting thread.
    if unsafe { is_overflow(address) } {
        // SAFETY: no preconditions.
        unsafe { libc::abort() };
    }
    // SAFETY: our caller's promise.
    if !unsafe { pass_on(signal, info, context) } {
        // SAFETY: our own argument.
        let was_sent = unsafe { (*info).si_code } <= 0;
        // SAFETY: plain data: all zeroes is the default action.
        unsafe { libc::sigaction(signal, &zeroed(), null_mut()) };
        // Returning faults again, and dies. A signal that was sent has no fault to repeat.
        if was_sent {
            // SAFETY: no preconditions; it arrives when the handler returns.
            unsafe { libc::raise(signal) };
        }
    }
}

/// Whether the running goroutine ran into its guard; if so it has been reported.
///
/// # Safety
///
/// In a handler, on the thread that faulted.
unsafe fn is_overflow(address: usize) -> bool {
    // Relaxed: written by this thread's M before it switched here.
    let g = words().g.load(Ordering::Relaxed);
    let Some(glue) = glue().filter(|_| !g.is_null()) else { return false };
    // SAFETY: `install`'s caller; `g` runs here.
    let start = unsafe { (glue.stack)(g) }.bounds.start;
    let hit = (start - GUARD_BYTES..start).contains(&address);
    if hit {
        // SAFETY: as above.
        unsafe { (glue.overflow)(g) };
    }
    hit
}
