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
//!
//! Unasked comes one line about a guard that has kept a collection waiting for a second:
//!
//! ```text
//! gc: a collection has waited 1.0s for guards: goroutine 7 [sleep, 0.2s] started by 1 at src/main.rs:12:9
//! ```

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use gc_core::stats::Waiting;
use gc_core::world::Nesting;
use sched_core::Stats;
use sched_core::monitor::{Holder, Load};

/// Writes a line to standard error. One that nobody reads any more is no reason to unwind, in a thread of
/// the runtime or in the middle of a collection, as `eprintln!` would.
pub(crate) fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

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

/// The line about a guard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuardLine {
    waited: Duration,
    /// Who has held a guard for longest; `None`: no goroutine of this runtime.
    holder: Option<Holder>,
    others: usize,
}

impl GuardLine {
    /// Picks those out of all `holders` that the collection waits for.
    pub(crate) fn new(waiting: Waiting, holders: &[Holder]) -> Self {
        let late = waited_for(waiting, holders);
        let others = late.len().saturating_sub(1);
        GuardLine { waited: waiting.age, holder: late.first().copied(), others }
    }
}

/// Those of `holders` that the collection waits for, whose guards are the oldest first.
pub(crate) fn waited_for(waiting: Waiting, holders: &[Holder]) -> Vec<Holder> {
    let before = |holder: &Holder| waiting.epoch.wrapping_sub(epoch(holder)) << 16 >> 16;
    // Half of the ring of epochs lies ahead.
    let late = |holder: &&Holder| before(holder) < 1 << 47;
    let mut late: Vec<_> = holders.iter().filter(late).copied().collect();
    late.sort_by_key(|holder| std::cmp::Reverse(before(holder)));
    late
}

/// The epoch of the holder's oldest guard.
fn epoch(holder: &Holder) -> u64 {
    let word = AtomicU64::new(holder.holds);
    Nesting::of(&word).epoch().expect("a holder holds something")
}

impl fmt::Display for GuardLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gc: a collection has waited {:.1?} for guards: ", self.waited)?;
        let Some(holder) = &self.holder else {
            return f.write_str("no goroutine of this runtime holds one");
        };
        match self.others {
            0 => {}
            others => write!(f, "{others} goroutines and ")?,
        }
        write!(f, "{}", holder.goroutine)
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
