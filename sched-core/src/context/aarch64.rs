//! The switch on AArch64.
//!
//! A suspended stack, from high addresses to low:
//!
//! ```text
//!      │ the caller of switch()   │
//!      ├──────────────────────────┤
//!      │ fpcr, padding            │  rounding, traps
//!      │ d8 … d15                 │  what the procedure call standard says a callee
//!      │ x19 … x28                │  must keep
//!  sp →│ x29, x30                 │  frame pointer, return address: a frame record
//!      └──────────────────────────┘
//! ```
//!
//! A stack that has not run yet looks the same, so the first switch to it is a switch like any
//! other. It "returns" to [`start`], with what to call in x19 and its argument in x20. There x29 is 0,
//! which ends chains of frame records, and the CFI of [`start`] ends the others.
//!
//! # What is not here
//!
//! Caller-saved registers, the upper halves of vector registers, SVE's and flags: to the compiler this
//! is a call, which may clobber them. SME: a call is made outside of streaming mode; the array storage
//! (`ZA`) is the thread's and does not move with a goroutine. The signal mask: it is the M's.
//!
//! x18 is no register of a program's on Linux. A shadow call stack of its own in it, as some kernels
//! and Android have, would need a place here.
//!
//! # Order
//!
//! As on x86-64: the stack pointer first, the thread pointer after it, and a signal handler in between
//! finds `in_runtime = 1` in either block.

use core::arch::naked_asm;

use crate::preempt::Registers;

/// What the frame takes.
const FRAME_WORDS: usize = 22;

/// Saves the running stack in `*save` and continues on the stack `sp` with the thread pointer `tp`.
///
/// # Safety
///
/// `sp` was saved by this function or made by [`first_frame`], and is used once.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn switch(save: *mut usize, sp: usize, tp: usize) {
    naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-176]!",
        ".cfi_def_cfa_offset 176",
        ".cfi_offset x29, -176",
        ".cfi_offset x30, -168",
        "stp x19, x20, [sp, #16]",
        ".cfi_offset x19, -160",
        ".cfi_offset x20, -152",
        "stp x21, x22, [sp, #32]",
        ".cfi_offset x21, -144",
        ".cfi_offset x22, -136",
        "stp x23, x24, [sp, #48]",
        ".cfi_offset x23, -128",
        ".cfi_offset x24, -120",
        "stp x25, x26, [sp, #64]",
        ".cfi_offset x25, -112",
        ".cfi_offset x26, -104",
        "stp x27, x28, [sp, #80]",
        ".cfi_offset x27, -96",
        ".cfi_offset x28, -88",
        "stp d8, d9, [sp, #96]",
        ".cfi_offset b8, -80",
        ".cfi_offset b9, -72",
        "stp d10, d11, [sp, #112]",
        ".cfi_offset b10, -64",
        ".cfi_offset b11, -56",
        "stp d12, d13, [sp, #128]",
        ".cfi_offset b12, -48",
        ".cfi_offset b13, -40",
        "stp d14, d15, [sp, #144]",
        ".cfi_offset b14, -32",
        ".cfi_offset b15, -24",
        "mrs x4, fpcr",
        "str x4, [sp, #160]",
        "mov x3, sp",
        "str x3, [x0]",
        // From here on the other stack. The frame has the same shape, so the CFI goes on to hold.
        "mov sp, x1",
        "msr tpidr_el0, x2",
        "ldr x3, [sp, #160]",
        // Writing it may stall the processor, and mostly it is the same.
        "cmp x3, x4",
        "b.eq 2f",
        "msr fpcr, x3",
        "2:",
        "ldp d14, d15, [sp, #144]",
        "ldp d12, d13, [sp, #128]",
        "ldp d10, d11, [sp, #112]",
        "ldp d8, d9, [sp, #96]",
        "ldp x27, x28, [sp, #80]",
        "ldp x25, x26, [sp, #64]",
        "ldp x23, x24, [sp, #48]",
        "ldp x21, x22, [sp, #32]",
        "ldp x19, x20, [sp, #16]",
        "ldp x29, x30, [sp], #176",
        ".cfi_def_cfa_offset 0",
        ".cfi_restore x19",
        ".cfi_restore x20",
        ".cfi_restore x21",
        ".cfi_restore x22",
        ".cfi_restore x23",
        ".cfi_restore x24",
        ".cfi_restore x25",
        ".cfi_restore x26",
        ".cfi_restore x27",
        ".cfi_restore x28",
        ".cfi_restore x29",
        ".cfi_restore x30",
        ".cfi_restore b8",
        ".cfi_restore b9",
        ".cfi_restore b10",
        ".cfi_restore b11",
        ".cfi_restore b12",
        ".cfi_restore b13",
        ".cfi_restore b14",
        ".cfi_restore b15",
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
    // SAFETY: the frame that `switch` left begins with these two.
    let [fp, ip] = unsafe { *(sp as *const [usize; 2]) };
    Registers { ip, sp: sp + size_of::<[u64; FRAME_WORDS]>(), fp }
}

/// Where a new stack begins: calls x19 with x20. `.cfi_undefined x30` ends backtraces here.
#[unsafe(naked)]
unsafe extern "C" fn start() -> ! {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined x30",
        "mov x0, x20",
        "blr x19",
        "brk #1",
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
    // As `switch` loads them: x29, x30, x19, x20; the rest, fpcr among it, is as a thread starts with.
    let mut frame = [0; FRAME_WORDS];
    frame[..4].copy_from_slice(&[0, start, body as usize as u64, argument as u64]);
    let sp = top - size_of_val(&frame);
    // SAFETY: the caller's words.
    unsafe { (sp as *mut [u64; FRAME_WORDS]).write(frame) };
    sp
}
