//! What a switch keeps besides the stack, and what a backtrace sees.

use std::backtrace::Backtrace;
use std::sync::{Arc, Mutex};

use crate::driver::{Enough, in_both_modes, yield_now};

#[cfg(target_arch = "x86_64")]
mod control_words {
    use std::arch::asm;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const DEFAULT_MXCSR: u32 = 0x1f80;
    const TOWARDS_ZERO: u32 = 0x7f80;
    const DEFAULT_X87: u16 = 0x037f;
    const X87_TOWARDS_ZERO: u16 = 0x0f7f;

    fn control() -> (u32, u16) {
        let (mut mxcsr, mut x87) = (0u32, 0u16);
        // SAFETY: both write to our variables.
        unsafe { asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &mut mxcsr, in(reg) &mut x87) };
        (mxcsr & !0x3f, x87)
    }

    fn set_control((mxcsr, x87): (u32, u16)) {
        // SAFETY: valid control words; whoever calls this puts the old ones back.
        unsafe { asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &mxcsr, in(reg) &x87) };
    }

    #[test]
    fn control_words_stay_with_their_goroutine() {
        in_both_modes(|driver| {
            let odd = (TOWARDS_ZERO, X87_TOWARDS_ZERO);
            let mut task = driver.task(move || {
                set_control(odd);
                yield_now();
                let seen = control();
                set_control((DEFAULT_MXCSR, DEFAULT_X87));
                assert_eq!(seen, odd);
            });
            assert!(!driver.resume(&mut task));
            assert_eq!(control(), (DEFAULT_MXCSR, DEFAULT_X87), "they leaked to the thread");
            driver.run(|| assert_eq!(control(), (DEFAULT_MXCSR, DEFAULT_X87)));
            assert!(driver.resume(&mut task));
            assert!(!task.panicked());
        });
    }

    #[test]
    fn a_new_goroutine_starts_with_defaults_whatever_its_starter_has() {
        in_both_modes(|driver| {
            let mxcsr = Arc::new(AtomicU32::new(0));
            let seen = mxcsr.clone();
            let mut task = driver.task(move || seen.store(control().0, Ordering::Relaxed));
            set_control((TOWARDS_ZERO, X87_TOWARDS_ZERO));
            let ended = driver.resume(&mut task);
            let mine = control();
            set_control((DEFAULT_MXCSR, DEFAULT_X87));
            assert!(ended);
            assert_eq!(mine, (TOWARDS_ZERO, X87_TOWARDS_ZERO));
            assert_eq!(mxcsr.load(Ordering::Relaxed), DEFAULT_MXCSR);
        });
    }
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
    in_both_modes(|driver| {
        let text = driver.run_preempted_with_backtrace(interrupted_frame);
        assert!(text.contains("interrupted_frame"), "{text}");
        assert!(text.contains("body_of"), "it did not get to the goroutine's beginning:\n{text}");
    });
}

#[inline(never)]
fn interrupted_frame(enough: &Enough) {
    let mut count = 0u64;
    while !enough.yet() {
        count = std::hint::black_box(count + 1);
    }
}
