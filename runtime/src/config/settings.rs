//! [`Settings`]: what a runtime is made with.
//!
//! Three have a say: the machine, the environment, and the code through a [`Builder`](crate::Builder). They are asked in
//! that order, and who speaks later decides. [`Settings::read`] is what the first two say; the builder's methods write
//! over it. What depends on several of them is not stored but found out when the runtime is made: how many Ps there can
//! be with so many threads, and whether `GOMAXPROCS` made sense.

use std::time::Duration;

use gc_core::pacer::Pacer;
use gc_core::policy::{Collection, WriteBarrier};
use sched_core::{Config, Preemption};

use super::{Cores, Environment, Ignored, Preempt, procs};
use crate::make::Make;
use crate::policy::Chosen;
use crate::scavenge::{ByAge, Scavenge};

/// How long a goroutine may run while others wait; Go's number.
const SLICE: Duration = Duration::from_millis(10);

/// Address space of a goroutine's stack. Memory is used only where it was touched.
const STACK_BYTES: usize = 256 * 1024;

/// Go's default: collect when the heap has doubled.
const GOGC: u32 = 100;

/// What a runtime is made with. Where nothing else is said, as the method of [`Builder`](crate::Builder) of that name.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) procs: Option<usize>,
    /// What there is where nobody says how many.
    pub(crate) cores: Cores,
    /// `GOMAXPROCS`
    said_procs: Option<String>,
    pub(crate) stack_bytes: usize,
    pub(crate) max_threads: Option<usize>,
    /// The inner `None` switches collections by growth off.
    pub(crate) gogc: Option<u32>,
    pub(crate) preempt: Preempt,
    pub(crate) preemption: Preemption,
    pub(crate) schedtrace: Option<Duration>,
    pub(crate) gctrace: bool,
    pub(crate) gccheckmark: bool,
    pub(crate) gcpoison: bool,
    pub(crate) kernel_threads: bool,
    pub(crate) trim_stacks_after: Option<Duration>,
    pub(crate) policy: Chosen,
    pub(crate) collecting: Collecting,
    pub(crate) scavenge: Make<Scavenge>,
    pub(crate) memory_limit: Option<usize>,
    /// `GOMEMLIMIT`, for the collector alone.
    pub(crate) soft_limit: Option<u64>,
    pub(crate) detect_deadlocks: bool,
    pub(crate) dump_on: Option<i32>,
    /// What makes no sense in the environment, but for `said_procs`.
    ignored: Vec<Ignored>,
}

/// How the collected heap is collected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collecting {
    pub(crate) collection: Collection,
    pub(crate) write_barrier: WriteBarrier,
    pub(crate) pacer: Option<Make<dyn Pacer>>,
}

impl Settings {
    /// Those of the environment, and defaults for what it does not say.
    pub(crate) fn read() -> Self {
        let env = Environment::read();
        Settings {
            procs: None,
            cores: Cores::own(),
            said_procs: env.procs,
            stack_bytes: STACK_BYTES,
            max_threads: None,
            gogc: env.gogc.unwrap_or(Some(GOGC)),
            preempt: env.preempt.unwrap_or(Preempt::After(SLICE)),
            preemption: Preemption::default(),
            schedtrace: env.schedtrace,
            gctrace: env.gctrace,
            gccheckmark: env.gccheckmark,
            gcpoison: env.gcpoison,
            kernel_threads: env.kernel_threads,
            trim_stacks_after: Config::default().trim_after,
            policy: Chosen::default(),
            collecting: Collecting::default(),
            scavenge: Make::by(|| Box::new(ByAge::default()) as _),
            memory_limit: None,
            soft_limit: env.memory_limit,
            detect_deadlocks: true,
            dump_on: None,
            ignored: env.ignored,
        }
    }

    /// The most Ps that are fewer than the threads.
    fn most_procs(&self) -> usize {
        self.most_threads().saturating_sub(1).clamp(1, Config::MOST_PROCS)
    }

    fn most_threads(&self) -> usize {
        self.max_threads.unwrap_or_else(|| Config::default().max_threads)
    }

    /// `GOMAXPROCS`, if it says something.
    fn said_procs(&self) -> Option<Result<usize, Ignored>> {
        Some(procs(self.said_procs.as_deref()?, self.most_procs()))
    }

    /// The number of Ps that somebody has set; `None`: the machine's.
    pub(crate) fn fixed_procs(&self) -> Option<usize> {
        self.procs.or_else(|| self.said_procs()?.ok())
    }

    fn procs_or_default(&self) -> usize {
        self.fixed_procs().unwrap_or_else(|| self.cores.procs().min(self.most_procs()))
    }

    /// What the environment says and makes no sense.
    pub(crate) fn ignored(&self) -> impl Iterator<Item = Ignored> {
        self.said_procs().and_then(Result::err).into_iter().chain(self.ignored.iter().cloned())
    }

    /// The scheduler's part of them.
    pub(crate) fn scheduler(&self) -> Config {
        let default = Config::default();
        Config {
            procs: self.procs_or_default(),
            stack_bytes: self.stack_bytes,
            max_threads: self.most_threads(),
            slice: match self.preempt {
                Preempt::After(slice) => slice,
                Preempt::Off => default.slice,
            },
            preemption: match self.preempt {
                Preempt::After(_) => self.preemption,
                Preempt::Off => Preemption::Cooperative,
            },
            trim_after: self.trim_stacks_after,
            thread_mode: self.kernel_threads,
            policy: self.policy.clone(),
            ..default
        }
    }
}
