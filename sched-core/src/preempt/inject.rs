//! The injected call: what an interrupted goroutine finds itself calling.
//!
//! ```text
//!            │ the interrupted frame         │
//!  old rsp ─►├───────────────────────────────┤ ← CFA
//!            │ red zone (128)                │  leaf functions keep variables here
//!            ├───────────────────────────────┤
//!      -136  │ interrupted rip               │  written by the handler; rsp points here
//!      -144  │ rflags                        │
//!      -152  │ rax rcx rdx rbx rbp rsi rdi   │  from here on written by the trampoline
//!      -208  │ r8 … r15                      │
//!  rbp ─►    ├───────────────────────────────┤  CFA - 264
//!            │ (alignment to 64)             │
//!            │ xsave area                    │  x87, SSE, AVX, AVX-512: 0.9 to 2.7 KiB
//!  rsp ─►    ├───────────────────────────────┤
//!            │ the scheduler's yield         │
//! ```
//!
//! The trampoline enters the scheduler with clean floating-point control words: else goroutines
//! that start on this thread would inherit the interrupted one's rounding, and silently compute
//! other results. It returns with `ret 128`, which drops the red zone.
//!
//! `.cfi_signal_frame` tells unwinders that the rip is that of an instruction and not a return
//! address; the CFA is the interrupted rsp. So a backtrace from within the scheduler, or of a
//! parked goroutine, goes through.

use core::arch::naked_asm;
use core::ops::Range;

use super::ROOM;
use super::signal::{XSAVE, glue};
use super::xsave::{Area, in_use};
use crate::tls::words;

const RED_ZONE: usize = 128;
const DEFAULT_MXCSR: u32 = 0x1f80;

/// The state of the code that a signal has interrupted, in the handler's hands.
pub(super) struct Interrupted<'a>(&'a mut libc::ucontext_t);

impl<'a> Interrupted<'a> {
    pub(super) fn new(context: &'a mut libc::ucontext_t) -> Self {
        Interrupted(context)
    }

    fn register(&self, register: libc::c_int) -> usize {
        self.0.uc_mcontext.gregs[register as usize] as usize
    }

    /// Whether it runs on its own stack, with enough of it left.
    pub(super) fn has_room(&self, stack: &Range<usize>) -> bool {
        let rsp = self.register(libc::REG_RSP);
        rsp >= stack.start + ROOM && rsp <= stack.end
    }

    /// Whether the trampoline saves all state that is in use, and is not what was interrupted.
    pub(super) fn is_saveable(&self) -> bool {
        // SAFETY: the kernel's own record.
        let used = unsafe { in_use(self.0.uc_mcontext.fpregs) };
        XSAVE.covers(used) && !is_injected(self.register(libc::REG_RIP))
    }

    /// Makes the code call the trampoline as soon as the handler returns.
    ///
    /// # Safety
    ///
    /// It has room and is saveable, and `in_runtime` is set for it.
    pub(super) unsafe fn call_trampoline(self) {
        let rsp = self.register(libc::REG_RSP) - RED_ZONE - size_of::<usize>();
        // SAFETY: below the red zone of a stack with room; nobody else uses it.
        unsafe { (rsp as *mut usize).write(self.register(libc::REG_RIP)) };
        let registers = &mut self.0.uc_mcontext.gregs;
        registers[libc::REG_RSP as usize] = rsp as i64;
        // SAFETY: no preconditions.
        registers[libc::REG_RIP as usize] = unsafe { trampoline() }.start as i64;
    }
}

/// Whether this is code of the injected call.
///
/// What is called by it was not called by the code around it: the address to which *it* returns is that of an
/// instruction that was interrupted, perhaps a function's first. An unwinder that takes it for a return address
/// looks for the function one byte too low.
///
/// ```
/// let function: fn() = std::thread::yield_now;
/// assert!(!sched_core::preempt::is_injected(function as usize));
/// ```
pub fn is_injected(address: usize) -> bool {
    // SAFETY: no preconditions: it returns two addresses.
    let Trampoline { start, end } = unsafe { trampoline() };
    (start..end).contains(&address)
}

/// Where the trampoline's code is.
#[repr(C)]
struct Trampoline {
    start: usize,
    end: usize,
}

/// Returns the bounds of the trampoline, whose code is part of this function, after its return.
#[unsafe(naked)]
unsafe extern "C" fn trampoline() -> Trampoline {
    naked_asm!(
        ".cfi_startproc",
        "lea rax, [rip + 2f]",
        "lea rdx, [rip + 7f]",
        "ret",
        ".cfi_endproc",
        ".balign 16",
        ".cfi_startproc",
        ".cfi_signal_frame",
        // On entry rsp points to the interrupted rip.
        ".cfi_def_cfa rsp, 136",
        ".cfi_offset rip, -136",
        // An unwinder looks one byte before a return address; there is none, but play safe.
        "nop",
        "2:",
        "pushfq",
        ".cfi_adjust_cfa_offset 8",
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rax, -152",
        "push rcx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rcx, -160",
        "push rdx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rdx, -168",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbx, -176",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbp, -184",
        "push rsi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rsi, -192",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rdi, -200",
        "push r8",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset r8, -208",
        "push r9",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset r9, -216",
        "push r10",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset r10, -224",
        "push r11",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset r11, -232",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset r12, -240",
        "push r13",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset r13, -248",
        "push r14",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset r14, -256",
        "push r15",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset r15, -264",
        "mov rbp, rsp",
        ".cfi_def_cfa rbp, 264",
        // The ABI wants the direction flag clear; the interrupted code may be in a backward copy.
        "cld",
        "sub rsp, [rip + {xsave} + {bytes}]",
        "and rsp, -64",
        // The header must be zero before the first save: xsave leaves most of it alone.
        "xor eax, eax",
        "mov [rsp + 512], rax",
        "mov [rsp + 520], rax",
        "mov [rsp + 528], rax",
        "mov [rsp + 536], rax",
        "mov [rsp + 544], rax",
        "mov [rsp + 552], rax",
        "mov [rsp + 560], rax",
        "mov [rsp + 568], rax",
        "mov eax, [rip + {xsave} + {mask}]",
        "xor edx, edx",
        "cmp dword ptr [rip + {xsave} + {compact}], 0",
        "je 3f",
        "xsavec64 [rsp]",
        "jmp 4f",
        "3:",
        "xsave64 [rsp]",
        "4:",
        "fninit",
        "ldmxcsr [rip + 6f]",
        // Upper halves in use make the scheduler's SSE code slow. No AVX, no upper halves.
        "test eax, 4",
        "je 5f",
        "vzeroupper",
        "5:",
        "call {yield_now}",
        "mov eax, [rip + {xsave} + {mask}]",
        "xor edx, edx",
        "xrstor64 [rsp]",
        "mov rsp, rbp",
        ".cfi_def_cfa rsp, 264",
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
        "pop r11",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r11",
        "pop r10",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r10",
        "pop r9",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r9",
        "pop r8",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r8",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rdi",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rsi",
        "pop rbp",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbp",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "pop rdx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rdx",
        "pop rcx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rcx",
        "pop rax",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rax",
        "popfq",
        ".cfi_adjust_cfa_offset -8",
        "ret 128",
        ".cfi_endproc",
        ".balign 4",
        "6: .long {mxcsr}",
        "7:",
        xsave = sym XSAVE,
        bytes = const Area::BYTES,
        mask = const Area::MASK,
        compact = const Area::COMPACT,
        mxcsr = const DEFAULT_MXCSR,
        yield_now = sym yield_now,
    )
}

/// The trampoline's call: the scheduler's yield, and out of the runtime again.
///
/// libc's errno is the goroutine's; the scheduler's system calls write to it.
unsafe extern "C" fn yield_now() {
    // SAFETY: the running block's.
    let errno = unsafe { *libc::__errno_location() };
    if let Some(glue) = glue() {
        // SAFETY: `install`'s caller; the handler has set `in_runtime` on this goroutine.
        unsafe { (glue.yield_now)() };
    }
    // SAFETY: as above. libc may be asked once for both: the address is the block's, and the block
    // is the goroutine's.
    unsafe { *libc::__errno_location() = errno };
    words().entry.leave();
}
