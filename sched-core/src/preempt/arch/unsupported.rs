//! Any other machine: there is none. The names are here so that nothing else is missing, and whoever builds for one
//! is told so in one error.

use crate::preempt::Registers;

compile_error!("sched-core supports x86-64 and aarch64 only");

pub(crate) fn here() -> Registers {
    Registers::default()
}

pub(crate) fn interrupted(_: &libc::ucontext_t) -> Registers {
    Registers::default()
}

pub(crate) unsafe fn copy_bytes(_: usize, _: *mut u8, _: usize) {}
