//! The instructions of AArch64.

use core::arch::asm;

use crate::preempt::Registers;

/// Those of the function that this is inlined into.
#[inline(always)]
pub(crate) fn here() -> Registers {
    let (ip, sp, fp): (usize, usize, usize);
    // SAFETY: it copies three registers.
    unsafe {
        asm!(
            "adr {ip}, .",
            "mov {sp}, sp",
            "mov {fp}, x29",
            ip = out(reg) ip,
            sp = out(reg) sp,
            fp = out(reg) fp,
            options(nomem, nostack, preserves_flags),
        );
    }
    Registers { ip, sp, fp }
}

/// Those of the code that a signal has interrupted.
pub(crate) fn interrupted(context: &libc::ucontext_t) -> Registers {
    let machine = &context.uc_mcontext;
    let (ip, sp) = (machine.pc as usize, machine.sp as usize);
    Registers { ip, sp, fp: machine.regs[29] as usize }
}

/// # Safety
///
/// So many bytes are readable at `from`, and the caller's to write at `to`.
pub(crate) unsafe fn copy_bytes(from: usize, to: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "cbz {left}, 3f",
            "2:",
            "ldrb {byte:w}, [{from}], #1",
            "strb {byte:w}, [{to}], #1",
            "subs {left}, {left}, #1",
            "b.ne 2b",
            "3:",
            left = inout(reg) bytes => _,
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            byte = out(reg) _,
            options(nostack),
        );
    }
}
