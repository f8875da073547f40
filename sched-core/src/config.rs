//! How a scheduler is built: values, their defaults, and their bounds.

use core::{num::NonZero, time::Duration};
use std::thread;

use crate::{
    error::Error,
    policy::Chosen,
    tls::{self, Mode, Surplus},
};

/// How a scheduler is built. [`Config::default`] suits most programs.
///
/// ```
/// use sched_core::Config;
/// let config = Config { procs: 2, ..Config::default() };
/// assert!(config.max_threads > config.procs);
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// How many goroutines run at once, 65,536 at most. Default: what the process may use of the machine.
    pub procs: usize,
    /// Address space of a goroutine's stack in bytes, TLS and guard included; 256 KiB.
    pub stack_bytes: usize,
    /// Threads at most, more than `procs`; 10,000. When all of them are blocked and a goroutine has waited for one for three
    /// seconds, the process aborts with a list of all goroutines, as it would hang otherwise.
    pub max_threads: usize,
    /// Sleeping threads kept in reserve for goroutines that block; 2.
    pub spare_threads: usize,
    /// How long a goroutine may run while others wait; 10 ms.
    pub slice: Duration,
    /// How goroutines are made to give way.
    pub preemption: Preemption,
    /// Whether stacks keep room for libraries that are loaded later and have static TLS; see
    /// [`Surplus`]. The first scheduler of the process decides.
    pub surplus: Surplus,
    /// In which order goroutines run; Go's.
    pub policy: Chosen,
    /// How long a goroutine must have waited until the pages below its stack pointer, which deep calls have touched,
    /// go back when somebody calls [`age_stacks`](crate::Scheduler::age_stacks); 1 s. `None`: they stay.
    pub trim_after: Option<Duration>,
    /// Gives each goroutine a kernel thread of its own even where own TLS would work.
    pub thread_mode: bool,
}

/// How a goroutine that computes for long is made to give way. Where each goroutine has a thread of its
/// own, and on AArch64, the two that signal are the same: the thread waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Preemption {
    /// Not at all: it gives way where it enters the runtime.
    Cooperative,
    /// By a signal (`SIGURG`), between any two instructions, and it may go on on another thread. One
    /// that cannot be moved just then (too little stack, registers in use that cannot be saved, a foreign
    /// signal handler on its stack) is treated as by [`ParkThread`](Self::ParkThread).
    #[default]
    Inject,
    /// By a signal, and its thread sleeps in the handler until the goroutine has its turn again. Nothing
    /// is saved and nothing moves; it takes a thread for each goroutine that was interrupted and waits.
    ParkThread,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            procs: thread::available_parallelism().map_or(1, NonZero::get),
            stack_bytes: 256 << 10,
            max_threads: 10_000,
            spare_threads: 2,
            slice: Duration::from_millis(10),
            preemption: Preemption::default(),
            surplus: Surplus::Take,
            policy: Chosen::default(),
            trim_after: Some(Duration::from_secs(1)),
            thread_mode: false,
        }
    }
}

impl Config {
    /// The most [`procs`](Self::procs).
    pub const MOST_PROCS: usize = 1 << 16;

    pub(crate) fn check(&self) -> Result<(), Error> {
        let &Config { procs, max_threads, .. } = self;
        if procs == 0 || procs > Self::MOST_PROCS {
            return Err(Error::Config("procs must be 1 to 65,536"));
        }
        if max_threads > 1 << 20 {
            return Err(Error::Config("max_threads must be 1,048,576 at most"));
        }
        if max_threads <= procs {
            return Err(Error::FewThreads { procs, max_threads });
        }
        Ok(())
    }

    /// How goroutines will run.
    pub(crate) fn mode(&self) -> Mode {
        let mode = tls::probe(self.surplus);
        match mode {
            Mode::OwnTls(_) if self.thread_mode => {
                Mode::Threads { why: "the configuration says so" }
            }
            mode => mode,
        }
    }
}
