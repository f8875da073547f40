//! The heap of the process, hardened: by a call, or by the environment.
//!
//! `ALLOC_HARDEN=1` is asked for once, before the first cache is made, so that every block is
//! covered; also in a preloaded library, whose program knows nothing of it. `ALLOC_HARDEN=2` keeps
//! the stack of each free too, which costs ten times more than all the rest: for a second run, when
//! the first has named the mistake. `0`, or nothing, is off; whatever else it is was meant to harden: it is taken for
//! `1`, and a line on standard error says so. A call ([`GlobalAlloc::harden`]) covers what is allocated from then on.
//!
//! Stacks, also those of the profile, are walked by the unwinder that every Rust program has. It may call `malloc` (it never does so
//! in a plain walk): the cache is in use then, and it is served from the emergency heap.
//!
//! A handler of `SIGSEGV` tells an overflow of a large block from other faults; for those it puts back what
//! was there before and lets the access fault again. It is installed with the first large block: std
//! looks for a handler before it allocates the first time, and afterwards installs its own over
//! what came in between. A program that installs another one later loses the name of that mistake, not
//! the fault.

use core::{
    ffi::{CStr, c_int, c_void},
    ptr,
};

use super::{FAULTS_BEFORE, HEAP};
use crate::{errno, harden::Hardening};

/// Frames between a mistake's cause and the walk: the walk's own.
const OWN_FRAMES: usize = 2;

/// Written, without an allocation, for a value that has no meaning.
const ODD: &str =
    "alloc-core: ALLOC_HARDEN takes 0 (off), 1 (on) or 2 (with stacks): taken for 1\n";

/// Hardens the heap if the environment asks for it.
pub(super) fn ask_environment() {
    // SAFETY: the name ends with a zero. Whoever changes the environment beside the first allocation of
    // the process is the one thread that there is.
    let value = unsafe { libc::getenv(c"ALLOC_HARDEN".as_ptr()) };
    if value.is_null() {
        return;
    }
    // SAFETY: a text that ends with a zero, and stays: see above.
    let hardening = match unsafe { CStr::from_ptr(value) }.to_bytes() {
        b"" | b"0" => return,
        b"1" => Hardening::new(),
        b"2" => Hardening::new().frames(unwind),
        _ => {
            // SAFETY: the text has so many bytes.
            errno::kept(|| unsafe {
                libc::write(libc::STDERR_FILENO, ODD.as_ptr().cast(), ODD.len())
            });
            Hardening::new()
        }
    };
    // Without room for the records there is none for blocks either, and somebody will say so.
    let _ = HEAP.harden(complete(hardening));
}

/// A hardening of the process-wide heap, with named faults.
pub(super) fn complete(hardening: Hardening) -> Hardening {
    hardening.before_large(name_faults)
}

/// Installs the handler, once.
fn name_faults() {
    let mut before = FAULTS_BEFORE.lock();
    if before.is_some() {
        return;
    }
    // SAFETY: all zeros is a valid action; the handler fits the flags, and both places are ours.
    unsafe {
        let (mut action, mut old): (libc::sigaction, libc::sigaction) = core::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGSEGV, &action, &mut old) == 0 {
            *before = Some(old);
        }
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel gives the information of the fault.
    HEAP.report_fault(unsafe { (*info).si_addr() } as usize);
    // Not ours: the access faults again, and meets what was there before.
    let before = FAULTS_BEFORE.try_lock().and_then(|before| *before);
    // SAFETY: null does nothing, else an action that the kernel gave us.
    unsafe {
        libc::sigaction(signal, before.as_ref().map_or(ptr::null(), |old| old), ptr::null_mut())
    };
}

/// Where a walk writes.
struct Walk<'a> {
    frames: &'a mut [usize],
    skip: usize,
    len: usize,
}

unsafe extern "C" {
    fn _Unwind_Backtrace(
        each: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

/// The caller's return addresses, from the unwind tables: some microseconds.
///
/// ```
/// use alloc_core::{global, harden::{Frames, Hardening}};
/// const WITH_STACKS: Hardening = Hardening::new().frames(global::unwind);
/// let mut frames = [0; 8];
/// assert!(global::unwind(&mut frames) > 0 && frames[0] != 0);
/// ```
pub fn unwind(frames: &mut [usize]) -> usize {
    let mut walk = Walk { frames, skip: OWN_FRAMES, len: 0 };
    // SAFETY: the callback is given the walk, which outlives the call.
    unsafe { _Unwind_Backtrace(step, (&raw mut walk).cast()) };
    walk.len
}

extern "C" fn step(context: *mut c_void, walk: *mut c_void) -> c_int {
    const GO_ON: c_int = 0;
    const END: c_int = 5;
    // SAFETY: passed through by `unwind`, which waits for us.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    if walk.skip > 0 {
        walk.skip -= 1;
        return GO_ON;
    }
    let Some(place) = walk.frames.get_mut(walk.len) else { return END };
    // SAFETY: the context is the unwinder's.
    *place = unsafe { _Unwind_GetIP(context) };
    if *place == 0 {
        return END;
    }
    walk.len += 1;
    GO_ON
}
