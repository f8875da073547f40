//! [`Watched`]: the scheduler as sysmon sees it. sysmon's `Machine` with sched-core's `Monitor`.
//!
//! Two translations are more than names. A worker's *tick* is the M's count of switches: equal means
//! the same run of the same goroutine. And a take must name what was seen, so the views of the last
//! look are kept: a take whose worker is not among them, or has switched since, is refused.
//!
//! Deeds that take time (a trace line) are left to the attendant thread ([`Desk`]): the monitor must
//! not wait for anyone, as it is what frees those who wait. For the same reason nothing in here
//! allocates or frees after the start: a goroutine may have been preempted with the lock of libc's
//! malloc in its hand, and a monitor that waits for it takes no P from those that wait for it, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sched_core::monitor::{KernelState as State, MachineView, Monitor, Roused, StateFile};
use sysmon::{HeldGuard, KernelState, Limits, Machine, Pause, Snapshot, Wake, Worker, WorkerId};

use super::desk::{Desk, Errand};
use crate::gc;

/// Files of kernel states that are kept open at most: a look asks for few.
const OPEN: usize = 32;

/// A scheduler, as its monitor sees it.
#[derive(Debug)]
pub(crate) struct Watched {
    monitor: Monitor,
    desk: Arc<Desk>,
    /// What the last look saw, for takes. It has room for all Ms.
    views: Vec<MachineView>,
    /// When it was, and whether nothing was queued.
    looked: Instant,
    nothing_waited: bool,
    /// By an M's number, modulo their count. Of two Ms that share a place, each opens its file anew.
    files: [Option<StateFile>; OPEN],
}

impl Watched {
    pub(crate) fn new(monitor: Monitor, desk: Arc<Desk>) -> Self {
        let views = Vec::with_capacity(monitor.most_machines());
        let files = [const { None }; OPEN];
        Watched { monitor, desk, views, looked: Instant::now(), nothing_waited: true, files }
    }

    /// Sleeps until something is queued that nobody looks for. Who is called often looks no more often for it
    /// than beside something that waits.
    fn watch(&self, time: Duration) -> Wake {
        let roused = self.monitor.watch(time);
        if roused != Roused::Called {
            return wake(roused);
        }
        let rest = Limits::DEFAULT.look.saturating_sub(self.looked.elapsed());
        if !rest.is_zero() {
            self.monitor.wait(Some(rest));
        }
        Wake::Called
    }
}

fn wake(roused: Roused) -> Wake {
    match roused {
        Roused::Due => Wake::Due,
        Roused::Woken => Wake::Look,
        Roused::Called => Wake::Called,
    }
}

fn number(worker: WorkerId) -> usize {
    // Ids come from `worker` below, which made them from a `usize`.
    worker.0 as usize
}

fn worker(view: &MachineView) -> Worker {
    Worker {
        id: WorkerId(view.id as u64),
        holds: view.proc.is_some(),
        running: view.running,
        tick: view.switches,
        slice_age: view.slice_age,
    }
}

impl Machine for Watched {
    fn most_workers(&self) -> usize {
        self.monitor.most_machines()
    }

    fn snapshot(&mut self, into: &mut Snapshot) {
        self.monitor.snapshot(&mut self.views);
        into.workers.extend(self.views.iter().map(worker));
        into.waiting = self.monitor.load().runnable;
        self.looked = Instant::now();
        self.nothing_waited = into.waiting == 0;
    }

    fn cpu_time(&mut self, worker: WorkerId) -> Option<Duration> {
        self.monitor.cpu_time(number(worker))
    }

    fn kernel_state(&mut self, worker: WorkerId) -> KernelState {
        let id = number(worker);
        match self.monitor.kernel_state(id, &mut self.files[id % OPEN]) {
            State::Running => KernelState::Runnable,
            State::Sleeping => KernelState::Sleeping,
            State::Waiting => KernelState::Uninterruptible,
            _ => KernelState::Unknown,
        }
    }

    fn take(&mut self, seen: &Worker) -> bool {
        let view = self.views.iter().find(|view| worker(view) == *seen);
        view.is_some_and(|view| self.monitor.try_take(view))
    }

    fn request_preempt(&mut self, worker: WorkerId) {
        if let Some(seen) = self.views.iter().find(|view| view.id == number(worker)) {
            self.monitor.request_preempt(seen);
        }
    }

    fn signal(&mut self, worker: WorkerId) {
        self.monitor.signal(number(worker));
    }

    fn since_collection(&mut self) -> Option<Duration> {
        gc::since_collection()
    }

    fn collect(&mut self) {
        self.desk.post(Errand::Collect);
    }

    fn oldest_guard(&mut self) -> Option<HeldGuard> {
        // All guards of one epoch are one to the watch: a handshake waits for the last of them.
        gc::waiting().map(|waiting| HeldGuard { id: waiting.epoch, age: waiting.age })
    }

    fn report_guard(&mut self, _: HeldGuard) {
        self.desk.post(Errand::Guard);
    }

    fn memory_rests(&mut self) -> bool {
        self.desk.memory_rests(self.monitor.stacks_rest())
    }

    fn scavenge(&mut self) {
        self.desk.post(Errand::Scavenge);
    }

    fn resize(&mut self) {
        self.desk.post(Errand::Resize);
    }

    fn may_wait_for_ever(&mut self) -> bool {
        self.monitor.may_wait_for_ever()
    }

    fn report_asleep(&mut self) {
        self.desk.post(Errand::Asleep);
    }

    fn trace(&mut self) {
        self.desk.post(Errand::Trace);
    }

    fn wait(&mut self, pause: Pause) -> Wake {
        let wake = match pause {
            Pause::For(time) if self.nothing_waited => self.watch(time),
            Pause::For(time) => wake(self.monitor.wait(Some(time))),
            Pause::UntilWoken => wake(self.monitor.wait(None)),
        };
        if self.monitor.stopped() { Wake::Stop } else { wake }
    }
}
