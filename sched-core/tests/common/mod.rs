//! What the scheduler's tests share: a scheduler in each mode, an end that is checked, and a monitor
//! that is small enough to be seen through.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sched_core::{
    Config, NoHooks, Scheduler,
    monitor::{KernelState, MachineView, Monitor},
};

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
        assert_eq!(scheduler.shutdown(None).left, [], "everything was joined");
    }
}

/// As [`in_both_modes`], watched by a [`Watch`].
pub(crate) fn watched(procs: usize, slice: Duration, body: impl Fn(&Scheduler)) {
    in_both_modes(procs, |scheduler| {
        let watch = Watch::start(scheduler, slice);
        body(scheduler);
        watch.stop();
    });
}

/// What a monitor sees of the calling goroutine.
pub(crate) fn own_view(monitor: &Monitor) -> MachineView {
    let mut views = Vec::new();
    monitor.snapshot(&mut views);
    let (machine, _) = sched_core::stint().expect("a goroutine");
    *views.iter().find(|view| view.id == machine).expect("it runs")
}

/// A monitor thread with two rules: who stands still in the kernel from one look to the next loses
/// the P; who has run for a slice is asked to give way, and signalled.
///
/// Like any monitor it must not allocate: a preempted goroutine may hold the allocator's lock.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(scheduler: &Scheduler, slice: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, monitor) = (Arc::clone(&stop), scheduler.monitor());
        let thread = thread::spawn(move || {
            let mut sight = Sight::new(monitor, slice);
            while !stopped.load(Ordering::Relaxed) {
                sight.look();
                thread::sleep(slice.min(Duration::from_micros(200)));
            }
        });
        Watch { stop, thread }
    }

    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watch does not panic");
    }
}

/// More Ms than any test has.
const MACHINES: usize = 512;

struct Sight {
    monitor: Monitor,
    slice: Duration,
    views: Vec<MachineView>,
    /// Switches and processor time at the last look, by M.
    past: Vec<Option<(u64, Duration)>>,
}

impl Sight {
    fn new(monitor: Monitor, slice: Duration) -> Self {
        let views = Vec::with_capacity(MACHINES);
        Sight { monitor, slice, views, past: vec![None; MACHINES] }
    }

    fn look(&mut self) {
        self.monitor.snapshot(&mut self.views);
        for view in self.views.iter().filter(|view| view.running) {
            let now = self.monitor.cpu_time(view.id).map(|time| (view.switches, time));
            let still = now.is_some() && self.past[view.id] == now;
            self.past[view.id] = now;
            // Who computes without a P has no slice left: it was taken for blocked.
            let is_over = view.proc.is_none() || view.slice_age >= self.slice;
            if !still && is_over {
                if self.monitor.request_preempt(view) {
                    self.monitor.signal(view.id);
                }
            } else if still && view.proc.is_some() && self.is_blocked(view.id) {
                self.monitor.try_take(view);
            }
        }
    }

    fn is_blocked(&self, id: usize) -> bool {
        let state = self.monitor.kernel_state(id, &mut None);
        matches!(state, KernelState::Sleeping | KernelState::Waiting)
    }
}
