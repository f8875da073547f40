//! What a switch keeps besides the stack, and what a backtrace sees.

use std::backtrace::Backtrace;
use std::sync::{Arc, Mutex};

use crate::driver::{Wish, in_both_modes, in_modes_that_preempt, yield_now};

/// Rounding and exception masks: the words that a callee must keep.
#[cfg(target_arch = "x86_64")]
mod words {
    use std::arch::asm;

    pub(super) type Words = (u32, u16);
    pub(super) const DEFAULT: Words = (0x1f80, 0x037f);
    pub(super) const TOWARDS_ZERO: Words = (0x7f80, 0x0f7f);

    pub(super) fn control() -> Words {
        let (mut mxcsr, mut x87) = (0u32, 0u16);
        // SAFETY: both write to our variables.
        unsafe { asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &mut mxcsr, in(reg) &mut x87) };
        (mxcsr & !0x3f, x87)
    }

    pub(super) fn set_control((mxcsr, x87): Words) {
        // SAFETY: valid control words; whoever calls this puts the old ones back.
        unsafe { asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &mxcsr, in(reg) &x87) };
    }
}

#[cfg(target_arch = "aarch64")]
mod words {
    use std::arch::asm;

    pub(super) type Words = u64;
    pub(super) const DEFAULT: Words = 0;
    pub(super) const TOWARDS_ZERO: Words = 3 << 22;

    pub(super) fn control() -> Words {
        let fpcr;
        // SAFETY: reads a register.
        unsafe { asm!("mrs {}, fpcr", out(reg) fpcr) };
        fpcr
    }

    pub(super) fn set_control(fpcr: Words) {
        // SAFETY: a valid control word; whoever calls this puts the old one back.
        unsafe { asm!("msr fpcr, {}", in(reg) fpcr) };
    }
}

mod control_words {
    use super::words::{DEFAULT, TOWARDS_ZERO, control, set_control};
    use super::*;

    #[test]
    fn control_words_stay_with_their_goroutine() {
        in_both_modes(|driver| {
            let mut task = driver.task(|| {
                set_control(TOWARDS_ZERO);
                yield_now();
                let seen = control();
                set_control(DEFAULT);
                assert_eq!(seen, TOWARDS_ZERO);
            });
            assert!(!driver.resume(&mut task));
            assert_eq!(control(), DEFAULT, "they leaked to the thread");
            driver.run(|| assert_eq!(control(), DEFAULT));
            assert!(driver.resume(&mut task));
            assert!(!task.panicked());
        });
    }

    #[test]
    fn a_new_goroutine_starts_with_defaults_whatever_its_starter_has() {
        in_both_modes(|driver| {
            let seen = Arc::new(Mutex::new(None));
            let tell = seen.clone();
            let mut task = driver.task(move || *tell.lock().expect("no panic") = Some(control()));
            set_control(TOWARDS_ZERO);
            let ended = driver.resume(&mut task);
            let mine = control();
            set_control(DEFAULT);
            assert!(ended);
            assert_eq!(mine, TOWARDS_ZERO);
            assert_eq!(*seen.lock().expect("no panic"), Some(DEFAULT));
        });
    }
}

/// Fills all that a callee must keep, calls `f(argument)`, and counts what has changed.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn keep_over(f: extern "C" fn(usize), argument: usize) -> usize {
    std::arch::naked_asm!(
        ".irp r, rbp, rbx, r12, r13, r14, r15",
        "push \\r",
        ".endr",
        "mov rax, rdi",
        "mov rdi, rsi",
        "lea rbp, [rsi + 1]",
        "lea rbx, [rsi + 2]",
        "lea r12, [rsi + 3]",
        "lea r13, [rsi + 4]",
        "lea r14, [rsi + 5]",
        "lea r15, [rsi + 6]",
        "push rsi",
        "call rax",
        "pop rsi",
        "xor eax, eax",
        ".irp r, rbp, rbx, r12, r13, r14, r15",
        "inc rsi",
        "cmp \\r, rsi",
        "je 3f",
        "inc rax",
        "3:",
        ".endr",
        ".irp r, r15, r14, r13, r12, rbx, rbp",
        "pop \\r",
        ".endr",
        "ret",
    )
}

#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn keep_over(f: extern "C" fn(usize), argument: usize) -> usize {
    std::arch::naked_asm!(
        "stp x29, x30, [sp, #-176]!",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "str x1, [sp, #160]",
        "mov x9, x0",
        "mov x0, x1",
        ".irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29",
        "add x\\n, x1, #\\n",
        ".endr",
        ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
        "add x10, x1, #\\n",
        "fmov d\\n, x10",
        ".endr",
        "blr x9",
        "ldr x1, [sp, #160]",
        "mov x0, #0",
        ".irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29",
        "add x10, x1, #\\n",
        "cmp x10, x\\n",
        "cinc x0, x0, ne",
        ".endr",
        ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
        "add x10, x1, #\\n",
        "fmov x11, d\\n",
        "cmp x10, x11",
        "cinc x0, x0, ne",
        ".endr",
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
        "ret",
    )
}

extern "C" fn yield_often(times: usize) {
    (0..times % 7 + 1).for_each(|_| yield_now());
}

#[test]
fn what_a_callee_must_keep_is_kept_by_a_switch() {
    in_both_modes(|driver| {
        let tasks = (0..4).map(|index| {
            // SAFETY: the function follows the calling convention, and so does what it calls.
            driver.task(move || assert_eq!(unsafe { keep_over(yield_often, index * 1000) }, 0))
        });
        let mut tasks = tasks.collect::<Vec<_>>();
        while !tasks.is_empty() {
            tasks.retain_mut(|task| {
                let ended = driver.resume(task);
                assert!(!task.panicked(), "a register was not kept");
                !ended
            });
        }
    });
}

#[inline(never)]
fn outer_frame() -> Backtrace {
    yield_now();
    not_a_tail(inner_frame())
}

#[inline(never)]
fn inner_frame() -> Backtrace {
    not_a_tail(Backtrace::force_capture())
}

/// Keeps the call before from being a tail call, which would leave no frame of its caller.
fn not_a_tail<T>(value: T) -> T {
    std::hint::black_box(());
    value
}

#[test]
fn a_backtrace_shows_the_goroutine_and_ends() {
    in_both_modes(|driver| {
        let text = Arc::new(Mutex::new(String::new()));
        let shown = text.clone();
        driver.run_migrating(move || {
            *shown.lock().expect("no panic") = outer_frame().to_string();
        });
        let text = text.lock().expect("no panic");
        assert!(text.contains("inner_frame") && text.contains("outer_frame"), "{text}");
        let frames = text.lines().filter(|line| line.contains("0:") || line.contains(": ")).count();
        assert!(frames < 60, "it did not end where the goroutine begins:\n{text}");
    });
}

#[test]
fn a_backtrace_from_a_preempted_goroutines_yield_shows_what_was_interrupted() {
    in_modes_that_preempt(|driver| {
        let text = driver.run_preempted_with_backtrace(interrupted_frame);
        assert!(text.contains("interrupted_frame"), "{text}");
        assert!(text.contains("body_of"), "it did not get to the goroutine's beginning:\n{text}");
    });
}

#[inline(never)]
fn interrupted_frame(wish: &Wish) {
    wish.wait();
}
