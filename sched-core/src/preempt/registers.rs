//! Where code is: what a backtrace begins with.

use super::arch;

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
        arch::here()
    }

    /// Those of the code that a signal has interrupted.
    pub(super) fn interrupted(context: &libc::ucontext_t) -> Registers {
        arch::interrupted(context)
    }
}
