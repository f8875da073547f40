//! Go's runtime for Rust: goroutines, channels, a collected heap, one owner of memory.
//!
//! # Problem
//!
//! A program has ten thousand things to do at once. With a thread for each it runs out of memory;
//! with `async` every function changes colour, nothing may block, and one loop without an `await`
//! holds everyone up. Here each gets a *goroutine*: an ordinary closure on a stack of its own, which
//! may call anything, block anywhere and compute for ever, while the others go on.
//!
//! ```
//! use runtime::{chan, go, select};
//! use std::time::Duration;
//!
//! # let rt = runtime::Runtime::new().unwrap();
//! # rt.run(|| {
//! let (tx, results) = chan::bounded(8);
//! for n in 1..=3_u64 {
//!     let tx = tx.clone();
//!     go(move || {
//!         std::thread::sleep(Duration::from_millis(n)); // blocks the thread: the others run on
//!         tx.send(n * n).unwrap();
//!     });
//! }
//! drop(tx);
//! let mut sum = 0;
//! loop {
//!     select! {
//!         recv(&results) -> square => match square {
//!             Ok(square) => sum += square,
//!             Err(_) => break, // all senders are gone
//!         },
//!         default(Duration::from_secs(10)) => panic!("too slow"),
//!     }
//! }
//! assert_eq!(sum, 1 + 4 + 9);
//! # });
//! ```
//!
//! In a program the surroundings are `#[runtime::main] fn main() { … }`; see [`macro@main`].
//!
//! # Words
//!
//! * A *goroutine* is to Rust and to libc a thread: it has its own stack and its own thread-locals,
//!   whatever operating system thread it runs on. So [`go()`] is a safe function, and the borrow
//!   checker's rules for threads are the rules for goroutines.
//! * A *processor* (P) is the right to run one goroutine. There are as many as the process may use cores, by its
//!   affinity mask and the quotas of its cgroups, unless `GOMAXPROCS` or [`Builder::procs`] says otherwise.
//! * A goroutine *parks* when it waits for something of this crate: its processor runs another one,
//!   no thread is held. It *blocks* when it waits for anything else (a file, a lock of std): then the
//!   monitor takes its processor away, and it comes back for one when it is done.
//!
//! # Map
//!
//! | for | see |
//! |---|---|
//! | starting goroutines | [`go()`], [`JoinHandle`], [`scope()`] for those that borrow |
//! | tasks without a stack | [`future`]: `spawn_future`, `block_on` |
//! | handing values over | [`chan`], [`select!`] |
//! | locks and counters | [`sync`] |
//! | time | [`time`]: sleeping, timers, tickers, timeouts |
//! | a call that is known to block for long | [`blocking`]: others have the processor at once |
//! | objects that point at each other as they like | [`gc`](mod@gc): guards, edges, roots |
//! | one allocator for all of it | [`Alloc`] |
//! | who holds how much of it | [`profile`]: for `pprof` |
//! | where every goroutine is | [`Runtime::dump`]; at a signal, [`Builder::dump_on`] |
//! | a runtime as a value | [`Runtime`], [`Builder`], [`Stats`] |
//!
//! # Environment
//!
//! What [`Builder`] is told in code comes before these.
//!
//! | variable | value | meaning |
//! |---|---|---|
//! | `GOMAXPROCS` | a number, less than [`Builder::max_threads`] | as [`Builder::procs`] |
//! | `GOGC` | a percentage; `off` or a negative number | as [`Builder::gogc`] |
//! | `GOMEMLIMIT` | a number of bytes, or of `KiB`, `MiB`, `GiB`, `TiB` (`512MiB`); `off` | collections begin early enough to keep the collected heap below, if they can: nothing is refused, unlike at [`Builder::memory_limit`], which comes before it |
//! | `GODEBUG` | `name=value`, with commas between them | see below |
//!
//! | in `GODEBUG` | value | meaning |
//! |---|---|---|
//! | `schedtrace` | milliseconds; `0`: off | as [`Builder::schedtrace`] |
//! | `gctrace` | `1`; `0`: off | as [`Builder::gctrace`] |
//! | `gccheckmark` | `1`; `0`: off | each collection marks twice, and the program panics if the first overlooked something |
//! | `gcpoison` | `1`; `0`: off | dead objects are filled with `0xdb`; the program ends, with the type's name, if one was written to before its memory is used again |
//! | `preempt` | a number of `us`, `ms` or `s` (`100us`); `off` | as [`Builder::preempt_after`]; `off`: as [`Builder::no_preemption`] |
//! | `asyncpreemptoff` | `1` | as `preempt=off` |
//! | `threadmode` | `1`; `0`: off | as [`Builder::kernel_threads`] |
//!
//! A value that makes no sense, or cannot be had, is ignored, and when the first runtime is made a line on standard
//! error says so. Other names in `GODEBUG` are Go's or nobody's, and are ignored silently.
//!
//! # What to know
//!
//! * A system call may return `EINTR` where it would not on a plain thread: the monitor interrupts
//!   goroutines that compute. std retries where that is right; raw calls of libc must be prepared.
//! * What the kernel knows of threads (signal masks, affinity, credentials of one thread, priority)
//!   belongs to the thread under a goroutine, which changes, unless it is kept with
//!   [`lock_os_thread`].
//! * A panic in a goroutine is its handle's `Err`. With `panic = "abort"` it ends the process.
//! * Stacks do not grow: 256 KiB unless [`Builder::stack_bytes`] says otherwise, each with a guard
//!   page. Overflow ends the process with a message, as with threads.
//! * Destructors of collected objects run on a goroutine of their own, one after the other.

pub mod chan;
#[doc(hidden)]
pub mod post;
#[doc(hidden)]
pub mod rings;
#[doc(hidden)]
pub mod select;
pub mod sync;
#[doc(hidden)]
pub mod table;
pub mod time;
mod wait;

// The rest stands on more than sched-core, and is left out of a model.
#[cfg(not(loom))]
mod attribute;
#[cfg(not(loom))]
mod build_error;
#[cfg(not(loom))]
mod builder;
#[cfg(not(loom))]
mod config;
#[cfg(not(loom))]
mod current;
#[cfg(not(loom))]
pub mod dump;
#[cfg(not(loom))]
pub mod future;
#[cfg(not(loom))]
pub mod gc;
#[cfg(not(loom))]
mod make;
#[cfg(not(loom))]
pub mod policy;
#[cfg(not(loom))]
pub mod profile;
#[cfg(not(loom))]
mod runtime;
#[cfg(not(loom))]
pub mod scavenge;
#[cfg(not(loom))]
mod scope;
#[cfg(not(loom))]
mod shutdown;
#[cfg(not(loom))]
mod spawn;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
mod trace;
#[cfg(not(loom))]
mod wire;

pub use time::{sleep, sleep_until};

#[cfg(not(loom))]
#[doc(hidden)]
pub use attribute::{main_with, test_with};
#[cfg(not(loom))]
pub use {
    build_error::BuildError,
    builder::Builder,
    future::{block_on, spawn_future},
    gc::collect as gc,
    runtime::{
        Goroutine, Mode, OsThreadLock, Preemption, Runtime, Status, WaitReason, lock_os_thread,
    },
    runtime_macros::{main, test},
    sched_core::blocking,
    scope::{Scope, ScopedJoinHandle, scope},
    shutdown::{HeldGuards, Shutdown},
    spawn::{GoError, JoinHandle, Spawn, StackError, go, go_with, try_go, yield_now},
    stats::Stats,
    sysmon::Stats as MonitorStats,
    wire::Alloc,
};

/// The README's example, as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The examples of the macros, as tests.
#[cfg(doctest)]
#[doc = include_str!("../macros/src/main.md")]
#[doc = include_str!("../macros/src/test.md")]
struct Macros;
