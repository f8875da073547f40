//! Preemption: a goroutine that does not come in is fetched.
//!
//! # Problem
//!
//! A goroutine in a loop without a call into the runtime keeps its P for ever. It must be made to
//! yield between two arbitrary instructions, and go on later, perhaps on another thread, as if
//! nothing had happened.
//!
//! # Answer
//!
//! The monitor marks the M and sends SIGURG to its thread ([`MThread::interrupt`]). The handler
//! decides, and if all is well has the interrupted code *call* a trampoline (`inject`): a frame is
//! written below the red zone, and the handler returns into it. The trampoline saves every register,
//! calls the scheduler's yield, and restores. After it the goroutine may be on any thread.
//!
//! Where nothing can move, or shall not, nothing need be saved: the handler itself calls a yield, and
//! the thread waits in its handler for the goroutine's turn. That is right at any instruction, on any
//! stack, whatever registers are in use; it costs a thread, and two hand-overs from thread to thread.
//! In thread mode, and on AArch64, it is the only way, on Ms one chooses ([`Preemption`](crate::Preemption)).
//!
//! # When the handler injects
//!
//! 1. the M is marked (else the signal is somebody else's and goes to the handler before ours);
//! 2. `in_runtime` is clear; if it is not, the request bits are seen at the next exit or entry. And it is not
//!    in the middle of a fork, with the locks of all allocators in its hands;
//! 3. a goroutine runs, and it may be moved ([`Stack::movable`]);
//! 4. its stack pointer is in its slot, with [`ROOM`] left;
//! 5. the interrupted signal mask is the M's own. A foreign handler without `SA_ONSTACK` runs on
//!    the goroutine's stack; moved to another M it would return there with the first M's mask and
//!    alternate stack;
//! 6. the program counter is not in the trampoline (a second frame for nothing);
//! 7. no register state is in use that the trampoline does not save (AMX; whatever comes next).
//!
//! Else it lets go the first time: a foreign handler is soon over, a trampoline is left. The second time
//! in a row it waits in the handler. Where 1, 2 or the first half of 3 fails, it just returns.
//!
//! | file | job |
//! |---|---|
//! | `signal` | all statics; installing handlers, and the handlers' way to their predecessors |
//! | `urgent` | the handler of SIGURG: the rules above, and the wait in the handler |
//! | `probe` | the handler copies the goroutine's stack for a backtrace |
//! | `registers`, `copy` | where code is; copying the stack of code that stands still |
//! | `arch` | the instructions for both, of each machine |
//! | `inject` | the frame and the trampoline |
//! | `xsave` | which register state there is, and how long |
//! | `fault` | SIGSEGV and SIGBUS: a goroutine's stack overflow gets a name |
//! | `setxid` | libc's signal for `setuid` and its kin finds the thread's own header |
//! | `thread` | what an M needs on its thread, and what a monitor may ask about it |
//! | `report` | writing to stderr where nothing may be called |
//!
//! # Rejected
//!
//! * *Not in libc*: a program counter in libc or ld.so is as good as any (their locks are owned by
//!   the goroutine, and others that want them block and are handed off). Waiting for it to leave
//!   costs seven times the throughput: most such samples sit at a system call.
//! * *Saving only what the ABI calls live*: at an arbitrary instruction everything is.
//!
//! # Source
//!
//! Go's `preempt.go` and `asyncPreempt`, which injects at safe points only; here every point is one,
//! as nothing scans stacks.

#[cfg_attr(target_arch = "x86_64", path = "arch/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "arch/aarch64.rs")]
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), path = "arch/unsupported.rs")]
mod arch;
mod copy;
mod fault;
#[cfg(injection)]
mod inject;
mod probe;
mod registers;
mod report;
#[cfg(own_tls)]
mod setxid;
mod signal;
mod thread;
mod urgent;
#[cfg(injection)]
mod xsave;

use core::ops::Range;

pub(crate) use copy::copy;
#[cfg(injection)]
pub use inject::is_injected;
pub(crate) use probe::Probe;
pub use registers::Registers;
pub use report::Stderr;
pub use signal::install;
pub use thread::{AltStack, KernelState, MThread, StatFile, cpu_time};

/// Whether this is code of the injected call: where nothing is injected, none is.
#[cfg(not(injection))]
pub fn is_injected(_: usize) -> bool {
    false
}

/// Stack that must be left for an injected call: the saved state and the scheduler's yield.
pub const ROOM: usize = 16 * 1024;

/// What the handlers ask of the scheduler. They pass what they find in [`Words`](crate::tls::Words).
///
/// The functions run in signal handlers: no allocation, no lock, no unwinding. (The yields are bound by
/// the rules inside the runtime only.)
#[derive(Clone, Copy, Debug)]
pub struct Glue {
    /// The thread part of the M `m`, which lives as long as `m` may be found in any words: in
    /// thread mode also in those of goroutines that are suspended or have just ended.
    pub thread: unsafe fn(m: *mut ()) -> *const MThread,
    /// The goroutine's stack. Called on the goroutine's own thread.
    pub stack: unsafe fn(g: *mut ()) -> Stack,
    /// Gives the P to others and returns when the goroutine has its turn again. Called with
    /// `in_runtime` set and returns with it set. It looks at the requests itself, as an outermost
    /// entry would: the P may have been taken before the handler came in.
    pub yield_now: unsafe extern "C" fn(),
    /// As `yield_now`, but called in the handler, and returns there: the thread waits meanwhile. In
    /// thread mode, and where the goroutine cannot be moved. With what the signal has interrupted.
    pub yield_here: unsafe fn(at: Registers),
    /// Says on stderr which goroutine has overflowed its stack. The process aborts after it.
    pub overflow: unsafe fn(g: *mut ()),
}

/// A goroutine's stack, as a handler needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// [`Slot::bounds`](crate::stack::Slot::bounds).
    pub bounds: Range<usize>,
    /// Whether the goroutine may go on on another thread. In thread mode it does not matter.
    pub movable: bool,
}
