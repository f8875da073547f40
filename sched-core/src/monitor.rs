//! What somebody needs who watches a scheduler from a thread without a P.
//!
//! A monitor (Go calls it sysmon) sees goroutines that block or run too long, and acts on it. It
//! must not wait for any goroutine, as it is what frees those that wait for each other. So
//! everything here reads words that their owners publish anyway, takes no lock but the take lock,
//! which is held for a microsecond, allocates nothing, and trusts nothing it saw: every deed checks
//! again. The monitor's own code is bound by the same rule: a goroutine may have been preempted with
//! the allocator's lock in its hand.
//!
//! ```
//! use sched_core::{Config, NoHooks, Scheduler};
//! # use std::sync::Arc;
//! let scheduler = Scheduler::new(Config { procs: 1, ..Config::default() }, Arc::new(NoHooks))?;
//! let monitor = scheduler.monitor();
//! let handle = scheduler.spawn(|| std::thread::sleep(std::time::Duration::from_millis(2)))?;
//! let mut views = Vec::with_capacity(monitor.most_machines());
//! while !handle.is_finished() {
//!     monitor.snapshot(&mut views);
//!     for view in views.iter().filter(|view| view.running && view.proc.is_some()) {
//!         // A real monitor looks at the clock and at the kernel's word first.
//!         monitor.try_take(view);
//!     }
//! }
//! # scheduler.shutdown(None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Sleeping for ever
//!
//! When every P is idle there is nothing to watch. [`Monitor::wait`] then sleeps without a time
//! limit, and whoever takes a P from the idle list rings the [`Bell`](crate::bell::Bell). The sleep is refused
//! if anything has run since the last look ([`Looked`]).
//! [`Monitor::watch`] is for a long sleep while something runs and nothing waits.

use core::{fmt, time::Duration};
use std::sync::Arc;

pub use crate::{bell::Roused, preempt::KernelState};

use crate::{
    context::ThreadId,
    dispatch::Dispatch,
    dump::Goroutine,
    handoff::{self, Turn},
    lull::{Looked, Lull},
    machine::Machine,
    preempt::{self, StatFile},
    shared::Shared,
};

/// The eye and the hand of a monitor. Use it from one thread.
pub struct Monitor {
    shared: Arc<Shared>,
    looked: Looked,
}

/// One M, as it was at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineView {
    /// Its number, for as long as the scheduler lives.
    pub id: usize,
    /// The P it holds.
    pub proc: Option<usize>,
    /// Whether a goroutine runs on it. False while it looks for work or sleeps.
    pub running: bool,
    /// Switches so far: unchanged means the same run of the same goroutine.
    pub switches: u64,
    /// Slices that its P has begun; a goroutine that inherits a slice does not begin one.
    pub tick: u32,
    /// How long the slice has lasted, or up to seven short ones before it as well; zero without a P.
    pub slice_age: Duration,
}

/// A goroutine that holds something others may wait for. See [`holds`](crate::holds_or).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Who it is.
    pub goroutine: Goroutine,
    /// The word in which it says what it holds.
    pub holds: u64,
}

/// How busy a scheduler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Goroutines in queues, at about this time.
    pub runnable: usize,
    /// Ps that nobody holds.
    pub idle_procs: usize,
    /// Ms that look for work.
    pub spinning: usize,
    /// All Ps that there shall be.
    pub procs: usize,
}

impl Load {
    /// Nothing runs and nothing waits to run.
    pub fn is_idle(&self) -> bool {
        self.idle_procs == self.procs
    }
}

/// A kept-open file that tells the kernel state of one thread.
#[derive(Debug)]
pub struct StateFile {
    thread: ThreadId,
    stat: StatFile,
}

impl Monitor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, looked: Looked::new() }
    }

    /// How many Ms there can be, and so how long a list of views can get.
    pub fn most_machines(&self) -> usize {
        self.shared.config.max_threads
    }

    /// Replaces the content of `views` with one view per M that runs a goroutine or holds a P.
    ///
    /// Allocates unless `views` has room: for [`most_machines`](Self::most_machines) it is enough.
    pub fn snapshot(&self, views: &mut Vec<MachineView>) {
        self.looked.note(self.shared.switches());
        views.clear();
        let all = self.shared.machines().map(|m| self.view(m));
        views.extend(all.filter(|view| view.running || view.proc.is_some()));
    }

    fn view(&self, m: &Machine) -> MachineView {
        // The count first: if anything read later belongs to a later run, the count is too old, and
        // a take that trusts this view is refused.
        let switches = m.switches();
        let running = !m.task().is_null();
        let proc = m.proc();
        // Before the age: an old age shall not be told of a slice that has just begun.
        let tick = proc.map_or(0, |proc| proc.tick());
        let age = proc.map_or(0, |proc| self.shared.clock.since(proc.slice_start()));
        MachineView {
            id: m.id(),
            proc: proc.map(|proc| proc.index()),
            running,
            switches,
            tick,
            slice_age: Duration::from_nanos(age),
        }
    }

    /// How busy the scheduler is.
    pub fn load(&self) -> Load {
        Load {
            runnable: self.shared.queued(),
            // Before the number of all: see `set_procs`.
            idle_procs: self.shared.idle.idle_procs(),
            spinning: self.shared.idle.spinning(),
            procs: self.shared.wanted_procs(),
        }
    }

    /// Processor time that the thread of M `id` has used. 0.4 µs.
    pub fn cpu_time(&self, id: usize) -> Option<Duration> {
        preempt::cpu_time(self.shared.machine(id)?.thread()).map(Duration::from_nanos)
    }

    /// What the kernel says about the thread of M `id`. 5 µs: ask only when its clock stands still.
    ///
    /// `file` is kept from call to call for the same M; it is opened when it is `None` or belongs to
    /// a thread that has left the M.
    pub fn kernel_state(&self, id: usize, file: &mut Option<StateFile>) -> KernelState {
        let Some(machine) = self.shared.machine(id) else { return KernelState::Unknown };
        let thread = machine.thread();
        if file.as_ref().is_none_or(|file| file.thread != thread) {
            *file = StatFile::open(thread).ok().map(|stat| StateFile { thread, stat });
        }
        file.as_ref().map_or(KernelState::Unknown, |file| file.stat.state())
    }

    /// Takes the P of the M as `seen`, and hands it to another M, or to the idle list. False if the
    /// M has switched since, holds no P, or is inside the runtime.
    pub fn try_take(&self, seen: &MachineView) -> bool {
        let machine = self.shared.machine(seen.id);
        machine.is_some_and(|m| handoff::take(&self.shared, m, seen.switches))
    }

    /// Asks the goroutine on the M as `seen` to give way when it next enters the runtime. False if its slice is over:
    /// whoever runs there now has begun one of his own.
    pub fn request_preempt(&self, seen: &MachineView) -> bool {
        let machine = self.shared.machine(seen.id);
        machine.is_some_and(|m| handoff::request_preempt(&self.shared, m, Turn::seen(seen)))
    }

    /// Interrupts the thread of M `id`, so that a requested preemption happens where it stands. Does
    /// nothing if preemption is [cooperative](crate::Preemption::Cooperative).
    pub fn signal(&self, id: usize) {
        if let Some(machine) = self.shared.machine(id) {
            crate::glue::signal(&self.shared, machine);
        }
    }

    /// The goroutines that hold something, at about this time. Walks all records: not for each look.
    pub fn holders(&self) -> Vec<Holder> {
        self.shared.holders()
    }

    /// Whether there are goroutines and no deadline: if all Ps are idle, ask
    /// [`Scheduler::deadlock`](crate::Scheduler::deadlock), more than once.
    ///
    /// It does not ask itself whether something still happens. An M that has just given its P up and lost its
    /// core before it was done would make it say no, and nobody would tell the monitor of the change.
    pub fn may_wait_for_ever(&self) -> bool {
        self.shared.may_wait_for_ever()
    }

    /// Sleeps for `limit`; without one until a P leaves the idle list. If all Ps are idle, a P that
    /// leaves the idle list also ends a sleep with a limit.
    ///
    /// Returns at once without a limit when not all Ps are idle, when anything has run since the last
    /// [`snapshot`](Self::snapshot), and when the scheduler stops: see [`stopped`](Self::stopped).
    pub fn wait(&self, limit: Option<Duration>) -> Roused {
        self.shared.idle.bell().wait(limit, || self.is_as_idle_as_seen())
    }

    fn is_as_idle_as_seen(&self) -> bool {
        let idle = || self.load().is_idle();
        self.looked.is_all(idle, || self.shared.switches()) && !self.stopped()
    }

    /// As [`wait`](Self::wait) with a limit, for a monitor that found nothing queued: ends as well when a
    /// goroutine is queued that nobody looks for, as all Ps are busy, perhaps with goroutines that
    /// are blocked. Then it was [called](Roused::Called).
    pub fn watch(&self, limit: Duration) -> Roused {
        self.shared.idle.watch(limit, || self.shared.any_work(), || self.is_as_idle_as_seen())
    }

    /// Ends a [`wait`](Self::wait), now or when it is called.
    pub fn wake(&self) {
        self.shared.idle.bell().wake();
    }

    /// See [`Scheduler::stacks_rest`](crate::Scheduler::stacks_rest).
    pub fn stacks_rest(&self) -> bool {
        self.shared.stacks_rest()
    }

    /// The scheduler has stopped: nothing will happen any more.
    pub fn stopped(&self) -> bool {
        self.shared.stopping()
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("load", &self.load()).finish()
    }
}
