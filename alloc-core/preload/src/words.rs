//! Where the allocator finds the words of a thread: in a thread-local of the *initial-exec* model.
//!
//! A shared library's thread-locals are usually found by `__tls_get_addr`, as the library might be loaded
//! late. That function may call `malloc` (after any `dlopen` it brings the thread's table up to date), so
//! a `malloc` that uses it recurses without end. A library that is loaded at the start, as a preloaded
//! one is, may have its thread-locals at a fixed distance from the thread pointer instead, which the
//! dynamic linker writes down once. Stable Rust cannot ask for that model, hence the assembly: one
//! symbol in `.tbss`, which begins as zeros in each thread, and one load of its distance.
//!
//! The price: such a library cannot be loaded late by `dlopen` once libc's spare room is used up. It is not
//! meant to be.
//!
//! Source: Ulrich Drepper, "ELF Handling For Thread-Local Storage" (2013), section 4.3.

use core::arch::{asm, global_asm};

use alloc_core::global::{Place, Words};

global_asm!(
    ".section .tbss,\"awT\",@nobits",
    ".balign {align}",
    // Other object files of this library refer to it, nobody outside does.
    ".globl alloc_preload_words",
    ".hidden alloc_preload_words",
    ".type alloc_preload_words, @object",
    ".size alloc_preload_words, {size}",
    "alloc_preload_words:",
    ".zero {size}",
    ".previous",
    align = const align_of::<Words>(),
    size = const size_of::<Words>(),
);

/// The thread-local of this library.
#[derive(Debug)]
pub(crate) struct InitialExec;

// SAFETY: libc lays the symbol out for each thread, as zeros, and keeps it to the thread's end (1);
// finding it is arithmetic (2).
unsafe impl Place for InitialExec {
    #[inline(always)]
    fn with<R>(f: impl FnOnce(&Words) -> R) -> R {
        // SAFETY: the symbol has the size and alignment of `Words`, whose valid values include
        // zeros; it is this thread's alone and outlives the call.
        f(unsafe { &*address() })
    }
}

/// The words of this thread: the thread pointer plus the distance that the dynamic linker wrote down.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn address() -> *const Words {
    let words: *const Words;
    // SAFETY: reads the thread's own control block, whose first word points to itself, and a constant.
    unsafe {
        asm!(
            "mov {words}, qword ptr fs:[0]",
            "add {words}, qword ptr [rip + alloc_preload_words@GOTTPOFF]",
            words = out(reg) words,
            options(pure, nomem, nostack),
        );
    }
    words
}

/// The words of this thread: the thread pointer plus the distance that the dynamic linker wrote down.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn address() -> *const Words {
    let words: *const Words;
    // SAFETY: reads the thread pointer and a constant.
    unsafe {
        asm!(
            "mrs {words}, tpidr_el0",
            "adrp {distance}, :gottprel:alloc_preload_words",
            "ldr {distance}, [{distance}, :gottprel_lo12:alloc_preload_words]",
            "add {words}, {words}, {distance}",
            words = out(reg) words,
            distance = out(reg) _,
            options(pure, nomem, nostack),
        );
    }
    words
}
