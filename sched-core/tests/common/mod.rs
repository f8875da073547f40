//! What the scheduler's tests share: a scheduler in each mode, and an end that is checked.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;

use sched_core::{Config, NoHooks, Scheduler};

/// Both ways in which a goroutine can have thread-local storage of its own.
pub(crate) const MODES: [bool; 2] = [false, true];

/// A scheduler with `procs` Ps, in thread mode or in whatever mode this machine allows.
pub(crate) fn scheduler(procs: usize, thread_mode: bool) -> Scheduler {
    with(Config { procs, thread_mode, ..Config::default() })
}

/// A scheduler with this configuration.
pub(crate) fn with(config: Config) -> Scheduler {
    Scheduler::new(config, Arc::new(NoHooks)).expect("the system gives a few threads and stacks")
}

/// Runs `body` with a scheduler of `procs` Ps in each mode, and shuts it down.
pub(crate) fn in_both_modes(procs: usize, body: impl Fn(&Scheduler)) {
    for mode in MODES {
        let scheduler = scheduler(procs, mode);
        body(&scheduler);
        assert_eq!(scheduler.shutdown(None).left, 0, "everything was joined");
    }
}
