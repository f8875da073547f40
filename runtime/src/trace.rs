//! Trace lines on standard error, in the manner of Go's.
//!
//! `GODEBUG=schedtrace=1000` writes each second
//!
//! ```text
//! SCHED 2000ms: gomaxprocs=2 idleprocs=0 threads=7 spinningthreads=0 runqueue=12 created=104 steals=9 handoffs=31 preemptions=4
//! ```
//!
//! where `runqueue` counts all queues together, and what follows it counts from the start.
//! `GODEBUG=gctrace=1` writes a line per collection, see gc-core's `Record`.

use std::fmt;
use std::time::Duration;

use sched_core::Stats;
use sched_core::monitor::Load;

/// The line about a scheduler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SchedLine {
    /// Since the runtime's start.
    pub(crate) at: Duration,
    pub(crate) load: Load,
    pub(crate) stats: Stats,
}

impl fmt::Display for SchedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SchedLine { at, load, stats } = self;
        write!(f, "SCHED {}ms: gomaxprocs={}", at.as_millis(), load.procs)?;
        write!(f, " idleprocs={} threads={}", load.idle_procs, stats.threads)?;
        write!(f, " spinningthreads={} runqueue={}", load.spinning, load.runnable)?;
        write!(f, " created={} steals={}", stats.created, stats.steals)?;
        write!(f, " handoffs={} preemptions={}", stats.handoffs, stats.preemptions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_and_their_order_are_fixed() {
        let line = SchedLine {
            at: Duration::from_micros(2_000_900),
            load: Load { runnable: 12, idle_procs: 0, spinning: 1, procs: 2 },
            stats: Stats::default(),
        };
        assert_eq!(
            line.to_string(),
            "SCHED 2000ms: gomaxprocs=2 idleprocs=0 threads=0 spinningthreads=1 runqueue=12 \
             created=0 steals=0 handoffs=0 preemptions=0"
        );
    }
}
