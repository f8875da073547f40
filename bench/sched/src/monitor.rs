//! Rows about the one who watches: how soon the processor of a blocked task goes on, what the watching costs, and
//! what it takes to be watched and to be stopped.

use std::process;
use std::thread;
use std::time::Duration;

use harness::{Request, stats};

use crate::{BLOCK, BLOCKERS, HOGS, Scheduler, WORKERS};

/// How many tasks block in `hand-off`, one after the other.
const TIMES: usize = 200;
/// Entries of one pass, and preemptions.
const ENTRIES: usize = 10_000_000;
const STOPS: usize = 10_000;
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

/// A peer whose single steps can be taken alone.
pub trait Costs: Scheduler {
    /// A task enters the runtime and leaves it, so many times.
    fn enter_and_exit(&self, times: usize);

    /// So many times, on one worker of a scheduler of its own: a thread has the task stopped that computes there;
    /// the time from then until another one runs is noted.
    fn preempt(times: usize) -> Vec<Duration>;
}

/// What each call pays to be seen from outside.
pub fn entry<S: Costs>(request: &Request) {
    let scheduler = S::start(1);
    let times = request.count(ENTRIES);
    let time = harness::median_time(request.passes(), || scheduler.enter_and_exit(times));
    request.report_each("enter and exit", time, times);
}

/// The signal included.
pub fn preempt<S: Costs>(request: &Request) {
    let delays = S::preempt(request.count(STOPS));
    report_delays(request, delays, "µs", 1e6, &[("p50", 0.5), ("p99", 0.99)]);
}

/// A task blocks on the only worker, and another is ready.
pub fn hand_off<S: HandOff>(request: &Request) {
    let scheduler = S::start(1);
    let delays = scheduler.hand_off(request.count(TIMES), BLOCK);
    report_delays(request, delays, "ms", 1e3, &[("p50", 0.5), ("p99", 0.99), ("max", 1.0)]);
}

/// Prints quantiles in a unit of which a second has so many.
fn report_delays(
    request: &Request,
    mut delays: Vec<Duration>,
    unit: &str,
    second: f64,
    quantiles: &[(&str, f64)],
) {
    delays.sort();
    for &(name, q) in quantiles {
        let delay = stats::quantile(&delays, q).expect("there was one");
        request.report(name, unit, delay.as_secs_f64() * second);
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
