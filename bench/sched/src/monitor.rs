//! Rows about the one who watches: how soon the processor of a blocked task goes on, and what the watching costs.

use std::process;
use std::thread;
use std::time::Duration;

use harness::{Request, stats};

use crate::{BLOCK, BLOCKERS, HOGS, Scheduler, WORKERS};

/// How many tasks block in `hand-off`, one after the other.
const TIMES: usize = 200;
/// How long `monitor` looks at each state.
const LOOK: Duration = Duration::from_secs(4);

/// A peer that takes the worker of a blocked task for others.
pub trait HandOff: Scheduler {
    /// So many times, one after the other: a task spawns another, blocks its thread in the kernel for `each`
    /// without telling the scheduler, and the time from then until the other one runs is noted.
    fn hand_off(&self, times: usize, each: Duration) -> Vec<Duration>;
}

/// A peer whose monitor knows how long it was awake.
pub trait Monitored: Scheduler {
    /// The time so far that the monitor did not sleep.
    fn awake(&self) -> Duration;
}

/// A task blocks on the only worker, and another is ready.
pub fn hand_off<S: HandOff>(request: &Request) {
    let scheduler = S::start(1);
    let mut delays = scheduler.hand_off(request.count(TIMES), BLOCK);
    delays.sort();
    for (name, q) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
        let delay = stats::quantile(&delays, q).expect("somebody blocked");
        request.report(name, "ms", delay.as_secs_f64() * 1e3);
    }
}

/// The monitor's share of a core: while nobody runs; while every worker computes and nobody waits; while others
/// wait as well; and while yet others block in the kernel and lose their workers. None of them can be stopped:
/// the process is exited from.
pub fn monitor<S: Monitored>(request: &Request) {
    let scheduler = S::start(WORKERS);
    let time = if request.quick { LOOK / 10 } else { LOOK };
    let states = [
        ("idle", 0, 0),
        ("nobody waits", WORKERS, 0),
        ("some wait", HOGS - WORKERS, 0),
        ("some block", 0, BLOCKERS),
    ];
    for (state, hogs, blockers) in states {
        (0..hogs).for_each(|_| scheduler.spawn_hog());
        (0..blockers).for_each(|_| scheduler.spawn_blocker(BLOCK));
        thread::sleep(Duration::from_millis(500));
        let before = scheduler.awake();
        thread::sleep(time);
        let share = (scheduler.awake() - before).as_secs_f64() / time.as_secs_f64();
        request.report(state, "% of a core", share * 100.0);
    }
    process::exit(0);
}
