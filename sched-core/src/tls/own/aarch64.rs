//! What the AArch64 ABI fixes about a thread: static TLS lies above the thread pointer, behind two
//! words of which the first leads to the dtv; glibc's header ends at it (the ELF TLS specification's
//! variant I).
//!
//! Nothing else is in the ABI: canary and pointer guard are variables of libc, and `tpidr_el0` may be
//! written by user code on every machine and kernel. Libraries load it anew for each access or keep it
//! in a register over calls; either is right, as a goroutine's never changes.

use core::arch::asm;
use core::ops::Range;

use super::glibc::Reason;

/// The machine's number in an ELF header, and the relocation that asks for a distance from the
/// thread pointer.
pub(super) const ELF_MACHINE: u16 = 183;
pub(super) const TLS_DISTANCE: u64 = 1030;

/// In a header: non-zero if the process has had a second thread, for libcs that look there.
const MULTIPLE_THREADS: usize = 0;

/// The running thread's pointer.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    let tp;
    // SAFETY: reads a register. Not `pure`: a goroutine's never changes, but a thread's does when it
    // is lent another block.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) tp, options(nostack, nomem, preserves_flags)) };
    tp
}

/// # Safety
///
/// `tp` is a block's, and until it is set back nothing runs that wants the one before.
pub(crate) unsafe fn set_thread_pointer(tp: usize) {
    // SAFETY: the caller's promise.
    unsafe { asm!("msr tpidr_el0, {}", in(reg) tp, options(nostack)) };
}

/// Where `bytes` of static TLS lie, from the thread pointer; the two words are counted.
pub(super) fn static_tls(bytes: usize) -> Range<isize> {
    0..bytes as isize
}

/// Where `struct pthread` lies, from the thread pointer.
pub(super) fn header(bytes: usize) -> Range<isize> {
    -(bytes as isize)..0
}

/// libc's sum is static TLS: here it does not count the header.
pub(super) fn static_bytes(total: usize, _pthread_bytes: usize) -> Result<usize, Reason> {
    Ok(total)
}

/// Where the pointer to the dtv lies, from the thread pointer.
pub(super) fn dtv() -> Result<isize, Reason> {
    Ok(0)
}

/// Whether user code may set the stack: not where the kernel keeps a second one for returns.
pub(super) fn allowed() -> Result<(), Reason> {
    const PR_GET_SHADOW_STACK_STATUS: i32 = 74;
    let mut status = 0u64;
    // SAFETY: the kernel writes the one word, or does not know the request.
    let asked = unsafe { libc::prctl(PR_GET_SHADOW_STACK_STATUS, &raw mut status, 0, 0, 0) };
    if asked == 0 && status & 1 != 0 { Err("guarded control stacks are on") } else { Ok(()) }
}

/// Writes what is known of a zeroed header: one word, as in the header at `running`.
///
/// # Safety
///
/// The header at `header` is the caller's, the other that of the thread that runs.
pub(super) unsafe fn begin_header(header: usize, running: usize) {
    let word = |header: usize| (header + MULTIPLE_THREADS) as *mut u32;
    // SAFETY: the caller's memory.
    unsafe { word(header).write(*word(running)) };
}
