//! [`Stats`]: what a runtime has done, in numbers.

use sched_core::Scheduler;

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
}

impl Stats {
    pub(crate) fn read(scheduler: &Scheduler) -> Self {
        let of = scheduler.stats();
        Stats {
            goroutines_created: of.created,
            goroutines_finished: of.finished,
            threads: of.threads,
            steals: of.steals,
            handoffs: of.handoffs,
            preemptions: of.preemptions,
        }
    }
}
