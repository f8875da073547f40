//! Preemption at any instruction, and migration with everything that was in registers.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;

use crate::driver::in_modes_that_preempt;

#[test]
fn a_loop_without_calls_is_preempted() {
    in_modes_that_preempt(|driver| {
        driver.run_preempted(50, |enough| {
            let mut count = 0u64;
            while !enough.yet() {
                count = black_box(count + 1);
            }
            assert!(count > 0);
        });
    });
}

#[test]
fn std_and_libc_work_is_preempted_and_right() {
    in_modes_that_preempt(|driver| {
        driver.run_preempted(50, |enough| {
            let expected = work();
            while !enough.yet() {
                assert_eq!(work(), expected);
            }
        });
    });
}

/// Allocation, formatting, hashing, floating point, sorting, a lock.
fn work() -> String {
    let sums = Mutex::new(HashMap::new());
    for step in 0..40u32 {
        *sums.lock().expect("no panic").entry(step % 7).or_insert(0.0) += f64::from(step).sqrt();
    }
    let mut lines = sums
        .into_inner()
        .expect("no panic")
        .into_iter()
        .map(|(key, sum)| format!("{key}: {sum:.12}"))
        .collect::<Vec<_>>();
    lines.sort();
    lines.join("\n")
}

#[test]
fn errno_survives_preemption() {
    in_modes_that_preempt(|driver| {
        driver.run_preempted(30, |enough| {
            // SAFETY: the running thread's errno.
            unsafe { *libc::__errno_location() = 1234 };
            while !enough.yet() {
                black_box(());
            }
            // SAFETY: as above.
            assert_eq!(unsafe { *libc::__errno_location() }, 1234);
        });
    });
}

/// What a processor holds for the code it runs, x86-64.
#[cfg(target_arch = "x86_64")]
mod registers {
    use std::arch::naked_asm;

    use super::in_modes_that_preempt;

    /// Loads all general registers but rsp and rdi, all ymm registers, the red zone, the direction
    /// flag and odd control words; waits for the byte at `flag`; then counts what has changed.
    #[unsafe(naked)]
    unsafe extern "C" fn hold(flag: *const u8, values: *const [u64; 64]) -> u64 {
        naked_asm!(
            "push rbp",
            "push rbx",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "mov [rsp - 8], rsi",
            "mov dword ptr [rsp - 16], 0x7f80", // round towards zero
            "ldmxcsr [rsp - 16]",
            "mov dword ptr [rsp - 16], 0x0c7f", // likewise, and short mantissas
            "fldcw [rsp - 16]",
            "fld1",
            "fldpi",
            ".set .Lred, -24",
            ".rept 13",
            "mov qword ptr [rsp + .Lred], .Lred",
            ".set .Lred, .Lred - 8",
            ".endr",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "vmovdqu ymm\\n, [rsi + 32 * \\n]",
            ".endr",
            "std",
            "mov rax, 0x1001",
            "mov rbx, 0x1002",
            "mov rcx, 0x1003",
            "mov rdx, 0x1004",
            "mov rbp, 0x1005",
            "mov rsi, 0x1006",
            "mov r8, 0x1008",
            "mov r9, 0x1009",
            "mov r10, 0x100a",
            "mov r11, 0x100b",
            "mov r12, 0x100c",
            "mov r13, 0x100d",
            "mov r14, 0x100e",
            "mov r15, 0x100f",
            "2:",
            "cmp byte ptr [rdi], 0",
            "je 2b",
            // Flags first, before anything else changes them: DF is bit 10.
            "mov [rsp - 16], rax",
            "lea rsp, [rsp - 136]",
            "pushfq",
            "pop rax",
            "lea rsp, [rsp + 136]",
            "cld",
            "xor edi, edi",
            "bt rax, 10",
            "cmc",
            "adc rdi, 0",
            "mov rax, [rsp - 16]",
            ".macro check register, value",
            "cmp \\register, \\value",
            "je 3f",
            "inc rdi",
            "3:",
            ".endm",
            "check rax, 0x1001",
            "check rbx, 0x1002",
            "check rcx, 0x1003",
            "check rdx, 0x1004",
            "check rbp, 0x1005",
            "check rsi, 0x1006",
            "check r8, 0x1008",
            "check r9, 0x1009",
            "check r10, 0x100a",
            "check r11, 0x100b",
            "check r12, 0x100c",
            "check r13, 0x100d",
            "check r14, 0x100e",
            "check r15, 0x100f",
            ".set .Lred, -24",
            ".rept 13",
            "cmp qword ptr [rsp + .Lred], .Lred",
            "je 3f",
            "inc rdi",
            "3:",
            ".set .Lred, .Lred - 8",
            ".endr",
            ".purgem check",
            "mov rsi, [rsp - 8]",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "vpxor ymm\\n, ymm\\n, [rsi + 32 * \\n]",
            "vptest ymm\\n, ymm\\n",
            "jz 3f",
            "inc rdi",
            "3:",
            ".endr",
            "stmxcsr [rsp - 16]",
            "cmp dword ptr [rsp - 16], 0x7f80",
            "je 3f",
            "inc rdi",
            "3:",
            "fnstcw [rsp - 16]",
            "cmp word ptr [rsp - 16], 0x0c7f",
            "je 3f",
            "inc rdi",
            "3:",
            "fldpi",
            "fcomip st, st(1)",
            "je 3f",
            "inc rdi",
            "3:",
            "fstp st(0)",
            "fld1",
            "fcomip st, st(1)",
            "je 3f",
            "inc rdi",
            "3:",
            "fninit",
            "mov dword ptr [rsp - 16], 0x1f80",
            "ldmxcsr [rsp - 16]",
            "vzeroupper",
            "mov rax, rdi",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbx",
            "pop rbp",
            "ret",
        )
    }

    /// Loads what AVX-512 adds: the upper halves of zmm0 to zmm15, with the lower ones, zmm16 to zmm31 and the
    /// mask registers; waits for the byte at `flag`; then counts what has changed.
    #[unsafe(naked)]
    unsafe extern "C" fn hold_512(flag: *const u8, values: *const [u64; 64]) -> u64 {
        naked_asm!(
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, \
             16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
            "vmovdqu64 zmm\\n, [rsi + 8 * \\n]",
            ".endr",
            ".irp n, 1, 2, 3, 4, 5, 6, 7",
            "mov eax, 0x100 + \\n",
            "kmovw k\\n, eax",
            ".endr",
            "2:",
            "cmp byte ptr [rdi], 0",
            "je 2b",
            "xor eax, eax",
            ".irp n, 1, 2, 3, 4, 5, 6, 7",
            "kmovw ecx, k\\n",
            "cmp ecx, 0x100 + \\n",
            "je 3f",
            "inc rax",
            "3:",
            ".endr",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, \
             16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
            "vpcmpneqd k1, zmm\\n, [rsi + 8 * \\n]",
            "kmovw ecx, k1",
            "test ecx, ecx",
            "je 3f",
            "inc rax",
            "3:",
            ".endr",
            "vzeroupper",
            "ret",
        )
    }

    fn values() -> [u64; 64] {
        std::array::from_fn(|index| index as u64 * 0x0101_0101_0101_0101)
    }

    #[test]
    fn the_registers_of_avx_512_survive() {
        if !is_x86_feature_detected!("avx512f") {
            return;
        }
        in_modes_that_preempt(|driver| {
            driver.run_preempted(100, |enough| {
                // SAFETY: the processor has the registers; the flag and the values live on.
                assert_eq!(unsafe { hold_512(enough.flag(), &values()) }, 0, "registers changed");
            });
        });
    }

    #[test]
    fn registers_flags_control_words_and_the_red_zone_survive() {
        if !is_x86_feature_detected!("avx2") {
            return;
        }
        in_modes_that_preempt(|driver| {
            driver.run_preempted(100, |enough| {
                // SAFETY: the processor has the registers; the flag and the values live on.
                let changed = unsafe { hold(enough.flag(), &values()) };
                assert_eq!(changed, 0, "registers or words changed");
            });
        });
    }
}
