//! Where code is: what a backtrace begins with.

use core::arch::asm;

/// Where code was stopped: instruction, stack and frame pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// The instruction that would come next.
    pub ip: usize,
    /// The lowest byte of the stack in use.
    pub sp: usize,
    /// The frame pointer, for code that keeps one.
    pub fp: usize,
}

impl Registers {
    /// Those of the function that this is inlined into.
    #[inline(always)]
    pub(crate) fn here() -> Registers {
        let (ip, sp, fp): (usize, usize, usize);
        // SAFETY: it copies three registers.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            asm!(
                "lea {ip}, [rip]",
                "mov {sp}, rsp",
                "mov {fp}, rbp",
                ip = out(reg) ip,
                sp = out(reg) sp,
                fp = out(reg) fp,
                options(nomem, nostack, preserves_flags),
            );
            #[cfg(target_arch = "aarch64")]
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
    #[cfg(target_arch = "x86_64")]
    pub(super) fn interrupted(context: &libc::ucontext_t) -> Registers {
        let register = |number: libc::c_int| context.uc_mcontext.gregs[number as usize] as usize;
        let (ip, sp) = (register(libc::REG_RIP), register(libc::REG_RSP));
        Registers { ip, sp, fp: register(libc::REG_RBP) }
    }

    /// Those of the code that a signal has interrupted.
    #[cfg(target_arch = "aarch64")]
    pub(super) fn interrupted(context: &libc::ucontext_t) -> Registers {
        let machine = &context.uc_mcontext;
        let (ip, sp) = (machine.pc as usize, machine.sp as usize);
        Registers { ip, sp, fp: machine.regs[29] as usize }
    }
}
