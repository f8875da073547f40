//! What the x86-64 ABI fixes about a thread: static TLS lies below the thread pointer, the header
//! begins at it (the ELF TLS specification's variant II).

use core::arch::asm;
use core::ops::Range;

use super::glibc::{Reason, debugger_offset};

/// The machine's number in an ELF header, and the relocation that asks for a distance from the
/// thread pointer.
pub(super) const ELF_MACHINE: u16 = 62;
pub(super) const TLS_DISTANCE: u64 = 18;

/// The header's own address, twice: `tcb` and `self`.
const TCB: usize = 0;
const SELF: usize = 0x10;
/// Non-zero: the process has had a second thread.
const MULTIPLE_THREADS: usize = 0x18;
/// The canary compilers check against.
const STACK_GUARD: usize = 0x28;
/// The key that `setjmp` mangles pointers with.
const POINTER_GUARD: usize = 0x30;
/// CET features in use.
const FEATURE_1: usize = 0x48;
const SHADOW_STACK: u32 = 2;

/// The running thread's pointer.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    let tp;
    // SAFETY: the ABI keeps the block's own address in its first word.
    unsafe { asm!("mov {}, fs:0", out(reg) tp, options(nostack, preserves_flags, readonly)) };
    tp
}

/// # Safety
///
/// `tp` is a block's, and until it is set back nothing runs that wants the one before.
pub(crate) unsafe fn set_thread_pointer(tp: usize) {
    // SAFETY: own TLS needs the instruction, so it is there; the caller's promise.
    unsafe { asm!("wrfsbase {}", in(reg) tp, options(nostack)) };
}

/// Where `bytes` of static TLS lie, from the thread pointer.
pub(super) fn static_tls(bytes: usize) -> Range<isize> {
    -(bytes as isize)..0
}

/// Where `struct pthread` lies, from the thread pointer.
pub(super) fn header(bytes: usize) -> Range<isize> {
    0..bytes as isize
}

/// The part of libc's sum that is static TLS.
pub(super) fn static_bytes(total: usize, pthread_bytes: usize) -> Result<usize, Reason> {
    total.checked_sub(pthread_bytes).ok_or("odd size of static TLS")
}

/// Where the pointer to the dtv lies, from the thread pointer.
pub(super) fn dtv() -> Result<isize, Reason> {
    debugger_offset(c"_thread_db_pthread_dtvp").map(|at| at as isize)
}

/// Whether user code may set the thread pointer, and the stack.
pub(super) fn allowed() -> Result<(), Reason> {
    const HWCAP2_FSGSBASE: u64 = 1 << 1;
    // SAFETY: no preconditions.
    if unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_FSGSBASE == 0 {
        return Err("the processor or the kernel does not allow wrfsbase");
    }
    // SAFETY: a word of the running thread's header.
    if unsafe { *((thread_pointer() + FEATURE_1) as *const u32) } & SHADOW_STACK != 0 {
        return Err("shadow stacks are on");
    }
    Ok(())
}

/// Writes the ABI's words of a zeroed header; what all threads share is as in the one at `running`.
///
/// # Safety
///
/// The header at `header` is the caller's, the other that of the thread that runs.
pub(super) unsafe fn begin_header(header: usize, running: usize) {
    // SAFETY: the caller's memory; the offsets are the ABI's, within any header.
    unsafe {
        ((header + TCB) as *mut usize).write(header);
        ((header + SELF) as *mut usize).write(header);
        ((header + MULTIPLE_THREADS) as *mut u32).write(1);
        for shared in [STACK_GUARD, POINTER_GUARD, FEATURE_1] {
            ((header + shared) as *mut usize).write(*((running + shared) as *const usize));
        }
    }
}
