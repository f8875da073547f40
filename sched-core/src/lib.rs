//! Go's GMP scheduler: goroutines with their own stack and thread-local storage.
//!
//! A goroutine costs a page and is switched in tens of nanoseconds, but to Rust and to libc it is a
//! thread: `thread_local!`, `errno`, panics, `MutexGuard`s and borrowed data on its stack are its
//! own, wherever it runs. So [`Scheduler::spawn`] is safe, and any code may run in a goroutine. One
//! that blocks in the kernel, or computes for ever, does not keep the others from running.
//!
//! ```
//! use sched_core::{Config, NoHooks, Scheduler};
//! use std::sync::Arc;
//!
//! let scheduler = Scheduler::new(Config { procs: 2, ..Config::default() }, Arc::new(NoHooks))?;
//! let squares: Vec<_> =
//!     (0..100u64).map(|n| scheduler.spawn(move || n * n)).collect::<Result<_, _>>()?;
//! let sum: u64 = squares.into_iter().map(|handle| handle.join().unwrap()).sum();
//! assert_eq!(sum, 328_350);
//! assert!(scheduler.shutdown(None).left.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Rooms
//!
//! | room | its job |
//! |---|---|
//! | [`scheduler`], `config` | the handle: birth, spawning, the end |
//! | `shared`, `crew`, `resize`, `supply` | what Ms share: tables of Ps and Ms, how many there shall be, stacks |
//! | `gate`, `turnstile`, `closers` | who is inside, who sees to the end, who waits for it |
//! | `worker`, `switch`, `commit`, `goroutine` | the loop of an M, the switch, what comes after it, what goroutines call: start reading here |
//! | [`task`], `roster`, `registry` | the G: state, closure and result, handle; records, and where they live |
//! | `machine`, `proc` | the M and the P |
//! | `bound` | goroutines that go on on one thread only |
//! | [`future`] | tasks without a stack of their own, and who polls them |
//! | [`park`], `timers`, `sleep` | waiting, for goroutines and plain threads alike; deadlines |
//! | [`entry`] | entering the runtime, and taking a P from those who are outside |
//! | [`dump`], `stacks`, `asleep`, `lull`, `vigil` | who is there, what each waits for, and where; whether all wait for each other, and when to ask again |
//! | `occupancy`, `vacate`, `handoff`, [`monitor`], `bell` | how a P is taken, who gets it, who takes Ps, and when; who watches, and who wakes the watcher |
//! | [`policy`], `dispatch`, `ready`, `swap`, `succession` | the order in which goroutines run, and how it is changed while they do; [`sim`]: what it would do on a thousand Ps; [`queue`]: what policies are made of |
//! | `idle`, `orders`, `summons`, `parker`, `sleeper`, [`lock`] | who sleeps and who looks for work; what an M is woken for; a thread's sleep, and in view of others; the runtime's lock |
//! | `service` | threads and stacks made ahead of need |
//! | [`tls`], [`context`], [`stack`] | TLS blocks, the switch, stacks |
//! | [`preempt`], `glue` | signals: preemption, overflow |
//! | `timer`, `driver` | deadlines, and the thread that waits for them |
//!
//! The protocol modules hold no statics and are generic over what they carry, so that the models in
//! `loom-tests` run the same code. Modules that touch the operating system are left out of a model; what the
//! crates above need of them there is in `model`.
//!
//! Modules that these pages do not show (those without a link above) are public for the models, the runtime and the
//! benches alone: versions promise nothing about them.

#[doc(hidden)]
pub mod bell;
mod boxed;
#[doc(hidden)]
pub mod closers;
#[doc(hidden)]
pub mod commit;
#[doc(hidden)]
pub mod dispatch;
#[doc(hidden)]
pub mod driver;
pub mod entry;
pub mod future;
#[doc(hidden)]
pub mod idle;
pub mod lock;
#[doc(hidden)]
pub mod lull;
#[doc(hidden)]
pub mod occupancy;
#[doc(hidden)]
pub mod orders;
#[doc(hidden)]
pub mod parker;
pub mod policy;
pub mod queue;
mod reason;
#[doc(hidden)]
pub mod roster;
#[doc(hidden)]
pub mod sleeper;
#[doc(hidden)]
pub mod succession;
#[doc(hidden)]
pub mod summons;
#[doc(hidden)]
pub mod sync;
mod table;
pub mod task;
#[doc(hidden)]
pub mod timer;
#[doc(hidden)]
pub mod turnstile;
#[doc(hidden)]
pub mod vacate;
#[doc(hidden)]
pub mod vigil;

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub use model::{park, yield_now};

#[cfg(not(loom))]
mod asleep;
#[cfg(not(loom))]
mod bound;
#[cfg(not(loom))]
mod clock;
#[cfg(not(loom))]
mod config;
#[cfg(not(loom))]
pub mod context;
#[cfg(not(loom))]
mod crew;
#[cfg(not(loom))]
mod despair;
#[cfg(not(loom))]
pub mod dump;
#[cfg(not(loom))]
mod entered;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod gate;
#[cfg(not(loom))]
mod glue;
#[cfg(not(loom))]
mod goroutine;
#[cfg(not(loom))]
mod handoff;
#[cfg(not(loom))]
mod hooks;
#[cfg(not(loom))]
mod machine;
#[cfg(not(loom))]
pub mod monitor;
#[cfg(not(loom))]
mod paced;
#[cfg(not(loom))]
pub mod park;
#[cfg(not(loom))]
pub mod preempt;
#[cfg(not(loom))]
mod proc;
#[cfg(not(loom))]
mod ready;
#[cfg(not(loom))]
mod registry;
#[cfg(not(loom))]
mod resize;
#[cfg(not(loom))]
pub mod scheduler;
#[cfg(not(loom))]
mod service;
#[cfg(not(loom))]
mod shared;
#[cfg(not(loom))]
pub mod sim;
#[cfg(not(loom))]
mod sleep;
#[cfg(not(loom))]
mod spawn;
#[cfg(not(loom))]
pub mod stack;
#[cfg(not(loom))]
mod stacks;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
mod supply;
#[cfg(not(loom))]
mod swap;
#[cfg(not(loom))]
mod switch;
#[cfg(not(loom))]
mod timers;
#[cfg(not(loom))]
pub mod tls;
#[cfg(not(loom))]
mod worker;

#[cfg(not(loom))]
use core::sync::atomic::AtomicU64;

#[cfg(not(loom))]
pub use {
    bound::{OsThreadLock, lock_os_thread},
    config::{Config, Preemption},
    dump::{Goroutine, Status},
    error::{Error, SpawnError},
    handoff::blocking,
    hooks::{Hooks, NoHooks},
    paced::{SelfPaced, self_paced},
    scheduler::{Scheduler, Shutdown, current},
    sleep::{Sleep, sleep_until},
    spawn::{Spawn, spawn, spawn_future, spawn_with},
    stacks::StackCopy,
    stats::Stats,
    task::{TaskId, join::JoinHandle},
};

/// Shows `f` the word in which the calling goroutine says what it holds that others may have to wait
/// for; on a plain thread `own`. The encoding is the embedding's; 0 means nothing, and is the value at
/// the goroutine's birth.
///
/// A goroutine that gives way while the word is not 0 is a *holder*: the scheduler keeps it where it
/// is found when somebody waits ([`Scheduler::hurry_holders`]), and
/// [`Monitor::holders`](monitor::Monitor::holders) names it.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let own = AtomicU64::new(7);
/// assert_eq!(sched_core::holds_or(&own, |word| word.load(Ordering::Relaxed)), 7); // a plain thread
/// ```
#[cfg(not(loom))]
#[inline]
pub fn holds_or<R>(own: &AtomicU64, f: impl FnOnce(&AtomicU64) -> R) -> R {
    goroutine::with_holds(own, f)
}

/// Lets goroutines that hold something run first, if somebody waits for them
/// ([`Scheduler::hurry_holders`]) and one of them waits for a P. For one who has just let go.
#[cfg(not(loom))]
pub fn yield_to_holders() {
    goroutine::yield_to_holders();
}

/// The calling goroutine's stint: the number of its kernel thread among the scheduler's, and of the switch
/// that brought it there. As long as both are the same, nobody else has run on that thread, so that the thread's
/// clock tells the goroutine's time. `None` on a plain thread.
#[cfg(not(loom))]
pub fn stint() -> Option<(usize, u64)> {
    goroutine::stint()
}

/// Lets other goroutines run first, if any wait. On a plain thread: `std::thread::yield_now`.
#[cfg(not(loom))]
pub fn yield_now() {
    goroutine::yield_now();
}
