//! [`Stats`]: what a runtime has done, in numbers.

use std::time::Duration;

use sched_core::Scheduler;

use crate::gc;

/// Counters of a [`Runtime`](crate::Runtime), read while others run.
///
/// ```
/// let rt = runtime::Runtime::new().unwrap();
/// let before = rt.stats().goroutines_created;
/// rt.run(|| ());
/// assert_eq!(rt.stats().goroutines_created, before + 1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Goroutines started.
    pub goroutines_created: u64,
    /// Goroutines that have ended.
    pub goroutines_finished: u64,
    /// Operating system threads that run goroutines, now.
    pub threads: u64,
    /// Goroutines that a processor took from another one's queue.
    pub steals: u64,
    /// Processors taken from goroutines that blocked in the kernel.
    pub handoffs: u64,
    /// Goroutines that gave way because they were asked to, or interrupted.
    pub preemptions: u64,
    /// What the monitor did: its looks, whom it took processors from, how long it slept.
    pub monitor: sysmon::Stats,
    /// Collections of the process's heap.
    pub collections: u64,
    /// The longest that an allocation in the collected heap took so far, with what the kernel gave to
    /// other threads meanwhile.
    pub longest_mutator_delay: Duration,
    /// Bytes in collected objects; the dead are included until a collection has found them.
    pub heap_live_bytes: u64,
}

impl Stats {
    pub(crate) fn read(scheduler: &Scheduler, monitor: sysmon::Stats) -> Self {
        let (of, collector) = (scheduler.stats(), gc::stats());
        Stats {
            goroutines_created: of.created,
            goroutines_finished: of.finished,
            threads: of.threads,
            steals: of.steals,
            handoffs: of.handoffs,
            preemptions: of.preemptions,
            monitor,
            collections: collector.cycles,
            longest_mutator_delay: collector.longest_delay,
            heap_live_bytes: gc::heap().live_bytes(),
        }
    }
}
