//! The instructions of x86-64.

use core::arch::asm;

use crate::preempt::Registers;

/// Those of the function that this is inlined into.
#[inline(always)]
pub(crate) fn here() -> Registers {
    let (ip, sp, fp): (usize, usize, usize);
    // SAFETY: it copies three registers.
    unsafe {
        asm!(
            "lea {ip}, [rip]",
            "mov {sp}, rsp",
            "mov {fp}, rbp",
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
    let register = |number: libc::c_int| context.uc_mcontext.gregs[number as usize] as usize;
    let (ip, sp) = (register(libc::REG_RIP), register(libc::REG_RSP));
    Registers { ip, sp, fp: register(libc::REG_RBP) }
}

/// # Safety
///
/// So many bytes are readable at `from`, and the caller's to write at `to`.
pub(crate) unsafe fn copy_bytes(from: usize, to: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise; the direction flag is clear in Rust code.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") bytes => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}
