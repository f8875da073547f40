//! The switch on x86-64.
//!
//! A suspended stack, from high addresses to low:
//!
//! ```text
//!      │ the caller of switch()   │
//!      ├──────────────────────────┤
//!      │ return address           │  pushed by the call
//!      │ rbp                      │
//!      │ rbx                      │  what the System V ABI says a callee
//!      │ r12                      │  must keep
//!      │ r13                      │
//!      │ r14                      │
//!      │ r15                      │
//!  sp →│ mxcsr (4) │ x87 cw (2)   │  likewise: rounding, masks
//!      └──────────────────────────┘
//! ```
//!
//! A stack that has not run yet looks the same, so the first switch to it is a switch like any
//! other. It "returns" to [`start`], with what to call in rbx and r12:
//!
//! ```text
//!  top →├──────────────────────────┤  16-byte aligned
//!       │ 0                        │  where a return address would be: the end of every
//!       │ 0                        │  backtrace, for those who follow it and not the CFI
//!       │ start                    │  "return address" of the switch
//!       │ rbp = 0                  │  the end of the chain of frame pointers
//!       │ rbx = what to call       │
//!       │ r12 = its argument       │
//!       │ r13, r14, r15            │
//!  sp → │ default mxcsr, x87 cw    │
//!       └──────────────────────────┘
//! ```
//!
//! # What is not here
//!
//! Caller-saved registers, vector registers and flags: to the compiler this is a call, which may
//! clobber them. The signal mask: it is the M's. A goroutine that is interrupted anywhere has all
//! of that saved by `crate::preempt`, which then comes through here as well.
//!
//! # Order
//!
//! The stack pointer is loaded first, the thread pointer after it. Between the two a signal
//! handler would run with one goroutine's stack and the other's TLS; it sees `in_runtime = 1` in
//! either, and lets go.

use core::arch::naked_asm;

use crate::preempt::Registers;

/// All exceptions masked, round to nearest: what a thread starts with.
const DEFAULT_MXCSR: u64 = 0x1f80;
const DEFAULT_X87_CW: u64 = 0x037f;

/// What the frame of a stack that has not run yet takes.
const FRAME_WORDS: usize = 10;

/// Saves the running stack in `*save` and continues on the stack `sp` with the thread pointer `tp`.
///
/// # Safety
///
/// `sp` was saved by this function or made by [`first_frame`], and is used once. The processor
/// must allow `wrfsbase`.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn switch(save: *mut usize, sp: usize, tp: usize) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbp, 0",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r12, 0",
        "push r13",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r13, 0",
        "push r14",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r14, 0",
        "push r15",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r15, 0",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi], rsp",
        // From here on the other stack. The frame has the same shape, so the CFI goes on to hold.
        "mov rsp, rsi",
        "wrfsbase rdx",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "pop r15",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r15",
        "pop r14",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r14",
        "pop r13",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r13",
        "pop r12",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r12",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "pop rbp",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbp",
        "ret",
        ".cfi_endproc",
    )
}

/// Where the stack that was saved at `sp` goes on.
///
/// # Safety
///
/// `sp` was saved by [`switch`], and the stack is suspended.
pub(super) unsafe fn suspended_at(sp: usize) -> Registers {
    // SAFETY: the frame that `switch` left: seven words, then the return address.
    let word = |index: usize| unsafe { *((sp as *const usize).add(index)) };
    Registers { ip: word(7), sp: sp + size_of::<[usize; 8]>(), fp: word(6) }
}

/// Where a new stack begins: calls rbx with r12. `.cfi_undefined rip` ends backtraces here.
#[unsafe(naked)]
unsafe extern "C" fn start() -> ! {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "mov rdi, r12",
        "call rbx",
        "ud2",
        ".cfi_endproc",
    )
}

/// Writes the frame of a stack that has not run yet below `top` and returns its stack pointer: the
/// first switch to it calls `body(argument)`.
///
/// # Safety
///
/// The `FRAME_WORDS` words below `top`, which is 16-byte aligned, are the caller's to write.
pub(crate) unsafe fn first_frame(
    top: usize,
    body: unsafe extern "C" fn(*mut ()) -> !,
    argument: *mut (),
) -> usize {
    let start = start as unsafe extern "C" fn() -> ! as usize as u64;
    let control = DEFAULT_MXCSR | DEFAULT_X87_CW << 32;
    let (body, argument) = (body as usize as u64, argument as u64);
    // From low addresses to high: as `switch` pops them. `start` begins with rsp = top - 16.
    let frame: [u64; FRAME_WORDS] = [control, 0, 0, 0, argument, body, 0, start, 0, 0];
    let sp = top - size_of_val(&frame);
    // SAFETY: the caller's words.
    unsafe { (sp as *mut [u64; FRAME_WORDS]).write(frame) };
    sp
}
