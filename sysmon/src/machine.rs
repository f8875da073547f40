//! What the monitor asks of the scheduler it watches.
//!
//! Questions come first and cost little: one [`Machine::snapshot`] per look, one
//! [`Machine::cpu_time`] per running worker that holds a processor, and for some of the others, one
//! [`Machine::kernel_state`] per standstill. Deeds are few: [`take`](Machine::take), [`request_preempt`](Machine::request_preempt),
//! [`signal`](Machine::signal), [`collect`](Machine::collect),
//! [`report_guard`](Machine::report_guard), [`scavenge`](Machine::scavenge),
//! [`resize`](Machine::resize), [`report_asleep`](Machine::report_asleep), [`trace`](Machine::trace).
//!
//! A snapshot is old when it is read: by then the worker may have switched, blocked or died. So
//! nothing here trusts it with safety. `take` gets the [`Worker`] as it was seen and must itself
//! refuse when that is no longer so; a needless preemption request or signal must be harmless.

use std::time::Duration;

use crate::table::Table;

/// Names a worker: the index or address under which the machine knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

/// One worker, as it was at a look. A worker without a task need not be listed, one that waits
/// for work without a processor must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    /// Its name, stable as long as the worker lives.
    pub id: WorkerId,
    /// Whether it holds a processor. A worker back from a blocking call may run without one.
    pub holds: bool,
    /// Whether a task's code runs on it. False while it searches for work.
    pub running: bool,
    /// Changes whenever the worker switches to another task; an equal tick means the same run of
    /// the same task.
    pub tick: u64,
    /// How long ago the present slice began. A task that hands its slice on leaves it unchanged.
    /// Not looked at without a processor.
    pub slice_age: Duration,
}

/// What one look sees. The monitor keeps the value, and with it the memory, from look to look.
///
/// ```
/// use std::time::Duration;
/// use sysmon::{Snapshot, Worker, WorkerId};
///
/// let mut snapshot = Snapshot::with_room(1);
/// let (id, slice_age) = (WorkerId(1), Duration::ZERO);
/// snapshot.workers.push(Worker { id, holds: true, running: false, tick: 0, slice_age });
/// snapshot.clear();
/// assert!(snapshot.workers.is_empty());
/// ```
#[derive(Debug)]
pub struct Snapshot {
    /// All workers that hold a processor or run a task.
    pub workers: Table<Worker>,
    /// Tasks that are ready and not running, in all queues together.
    pub waiting: usize,
}

impl Snapshot {
    /// Nothing seen, with room for so many workers.
    pub fn with_room(workers: usize) -> Self {
        Snapshot { workers: Table::with_room(workers), waiting: 0 }
    }

    /// Forgets what was seen, keeps the memory.
    pub fn clear(&mut self) {
        self.workers.clear();
        self.waiting = 0;
    }
}

/// What the kernel says about a thread (the third field of `/proc/self/task/TID/stat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelState {
    /// `R`: on a core, or ready and waiting for one.
    Runnable,
    /// `S`: waits for something, and a signal would interrupt it.
    Sleeping,
    /// `D`: waits for a device or a page.
    Uninterruptible,
    /// Stopped, traced, dead.
    Other,
    /// The kernel could not be asked.
    Unknown,
}

/// A collector's guard that delays a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldGuard {
    /// Names this guard (not its holder): two guards at different times differ.
    pub id: u64,
    /// How long it has been held.
    pub age: Duration,
}

/// How long the monitor wants to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// For this time at most.
    For(Duration),
    /// Until the machine becomes active.
    UntilWoken,
}

/// Why the monitor's sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Wake {
    /// Time is up, and nobody has woken the monitor: look again.
    Due,
    /// Somebody has woken it, or may have: look again.
    Look,
    /// The same: a task waits, and no processor is idle.
    Called,
    /// The machine ends: leave [`Monitor::run`](crate::Monitor::run).
    Stop,
}

/// A scheduler as its monitor sees it.
///
/// Called by one thread only, the monitor's. No method may wait for a worker: the monitor is what
/// frees workers that wait for each other. A worker may be stopped while it allocates; so a method
/// that allocates or frees may wait for it, and must not, [`most_workers`](Self::most_workers) apart.
/// The methods about collections and traces have defaults
/// for a machine that has neither; their deeds are called only after the questions before them
/// gave an answer.
pub trait Machine {
    /// How many workers a snapshot can hold at most. Asked once, before the first look; further
    /// workers are not watched.
    fn most_workers(&self) -> usize;

    /// Fills `into`, which is empty, with the workers, in any order, and the number of waiting tasks.
    fn snapshot(&mut self, into: &mut Snapshot);

    /// Processor time that the thread of this worker has used; `None` when it cannot be read. The
    /// monitor compares two answers for equality while the tick is the same, nothing more.
    fn cpu_time(&mut self, worker: WorkerId) -> Option<Duration>;

    /// What the kernel says about the thread of this worker.
    fn kernel_state(&mut self, worker: WorkerId) -> KernelState;

    /// Takes the processor of a blocked worker and hands it to another one, or to the idle ones.
    ///
    /// Refuses (`false`) when the worker no longer is as `seen`, or is inside the scheduler, where
    /// it must not lose the processor.
    fn take(&mut self, seen: &Worker) -> bool;

    /// Asks the worker's task to yield at the next point where it enters the scheduler.
    fn request_preempt(&mut self, worker: WorkerId);

    /// Interrupts the worker's thread so that its task yields where it stands. The monitor calls
    /// this only for a thread whose clock was seen to run: a signal would move the clock of a
    /// blocked one, and cut its system call short.
    fn signal(&mut self, worker: WorkerId);

    /// How long ago the last collection ended; `None` while one is under way, or without a heap.
    fn since_collection(&mut self) -> Option<Duration> {
        None
    }

    /// Starts a collection without waiting for it.
    fn collect(&mut self) {}

    /// The oldest guard that a collection is waiting for; `None` when no collection waits.
    fn oldest_guard(&mut self) -> Option<HeldGuard> {
        None
    }

    /// Tells the user who holds `guard`.
    fn report_guard(&mut self, guard: HeldGuard) {
        let _ = guard;
    }

    /// Whether free memory could be given back and nobody is about to look after it.
    fn memory_rests(&mut self) -> bool {
        false
    }

    /// Has free memory given back, in its time, without waiting for it.
    fn scavenge(&mut self) {}

    /// Looks how many cores it may use, without waiting for it.
    fn resize(&mut self) {}

    /// Whether there are tasks and no deadline among them. Asked of an idle machine, which no call will wake
    /// if the answer changes while it is idle: what may change so is for
    /// [`report_asleep`](Self::report_asleep) to find out, which is called a few times.
    fn may_wait_for_ever(&mut self) -> bool {
        false
    }

    /// Finds out, without waiting for it, whether anybody is left who can wake a task, and tells the
    /// user if not.
    fn report_asleep(&mut self) {}

    /// Writes one trace line, or has it written. Called only when [`Limits::trace`] is set.
    ///
    /// [`Limits::trace`]: crate::Limits::trace
    fn trace(&mut self) {}

    /// Sleeps for `pause`, or less.
    ///
    /// A machine must cut a sleep short when it goes from no worker holding a processor to one,
    /// or the monitor sleeps for ever; and should when a task becomes ready, no processor is idle
    /// and the sleep is longer than a millisecond, or the task may wait that long for a processor
    /// that a blocked worker holds. A wake-up that comes before the sleep must not be lost, nor be told
    /// as [`Wake::Due`]; [`Wake::Look`] is never wrong.
    /// [`Alarm`](crate::Alarm) does all this.
    fn wait(&mut self, pause: Pause) -> Wake;
}
