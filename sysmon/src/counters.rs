//! What the monitor did, in numbers.
//!
//! A monitor is gone to its thread as soon as it runs; so its [`Counters`] are shared, and written by it
//! alone. Deeds are counted where all of them pass, in front of the machine ([`Tally`]), so no duty
//! needs to know.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::machine::{HeldGuard, KernelState, Machine, Pause, Snapshot, Wake, Worker, WorkerId};

/// The counters of one monitor: see [`Monitor::counters`](crate::Monitor::counters).
#[derive(Debug, Default)]
pub struct Counters {
    looks: AtomicU64,
    calls: AtomicU64,
    takes: AtomicU64,
    refusals: AtomicU64,
    requests: AtomicU64,
    signals: AtomicU64,
    errands: AtomicU64,
    pause: AtomicU64,
    asleep: AtomicU64,
    awake: AtomicU64,
}

/// What a monitor has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Looks at the machine.
    pub looks: u64,
    /// Sleeps that the machine cut short as a task waited: [`Wake::Called`].
    pub calls: u64,
    /// Processors taken from blocked workers.
    pub takes: u64,
    /// Takes that the machine refused, as the worker had moved.
    pub refusals: u64,
    /// Requests to a task to yield.
    pub requests: u64,
    /// Signals to workers whose task did not.
    pub signals: u64,
    /// All other deeds: collections, reports, free memory, cores, traces.
    pub errands: u64,
    /// The back-off's latest pause. Zero: it sleeps until it is woken.
    pub pause: Duration,
    /// Time spent asleep by [`Monitor::run`](crate::Monitor::run), the present sleep apart.
    pub asleep: Duration,
    /// Time spent in looks by the same.
    pub awake: Duration,
}

impl Counters {
    /// The numbers so far, each exact while the monitor sleeps.
    pub fn read(&self) -> Stats {
        // Relaxed, all: numbers, of which none says anything about other memory.
        let number = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let time = |of| Duration::from_nanos(number(of));
        Stats {
            looks: number(&self.looks),
            calls: number(&self.calls),
            takes: number(&self.takes),
            refusals: number(&self.refusals),
            requests: number(&self.requests),
            signals: number(&self.signals),
            errands: number(&self.errands),
            pause: time(&self.pause),
            asleep: time(&self.asleep),
            awake: time(&self.awake),
        }
    }

    pub(crate) fn looked(&self, pause: Pause) {
        bump(&self.looks);
        let pause = match pause {
            Pause::For(time) => nanos(time),
            Pause::UntilWoken => 0,
        };
        // Relaxed: as in `read`.
        self.pause.store(pause, Ordering::Relaxed);
    }

    /// A look and the sleep after it took so long, and the sleep ended so.
    pub(crate) fn slept(&self, awake: Duration, asleep: Duration, wake: Wake) {
        add(&self.awake, nanos(awake));
        add(&self.asleep, nanos(asleep));
        if wake == Wake::Called {
            bump(&self.calls);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn bump(counter: &AtomicU64) {
    add(counter, 1);
}

fn add(counter: &AtomicU64, n: u64) {
    // Relaxed, both: the monitor alone writes, and readers want a number.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// A machine whose deeds are counted.
pub(crate) struct Tally<'a, M> {
    pub(crate) machine: &'a mut M,
    pub(crate) counters: &'a Counters,
}

impl<M: Machine> Machine for Tally<'_, M> {
    fn most_workers(&self) -> usize {
        self.machine.most_workers()
    }

    fn snapshot(&mut self, into: &mut Snapshot) {
        self.machine.snapshot(into);
    }

    fn cpu_time(&mut self, worker: WorkerId) -> Option<Duration> {
        self.machine.cpu_time(worker)
    }

    fn kernel_state(&mut self, worker: WorkerId) -> KernelState {
        self.machine.kernel_state(worker)
    }

    fn take(&mut self, seen: &Worker) -> bool {
        let taken = self.machine.take(seen);
        bump(if taken { &self.counters.takes } else { &self.counters.refusals });
        taken
    }

    fn request_preempt(&mut self, worker: WorkerId) {
        bump(&self.counters.requests);
        self.machine.request_preempt(worker);
    }

    fn signal(&mut self, worker: WorkerId) {
        bump(&self.counters.signals);
        self.machine.signal(worker);
    }

    fn since_collection(&mut self) -> Option<Duration> {
        self.machine.since_collection()
    }

    fn collect(&mut self) {
        bump(&self.counters.errands);
        self.machine.collect();
    }

    fn oldest_guard(&mut self) -> Option<HeldGuard> {
        self.machine.oldest_guard()
    }

    fn report_guard(&mut self, guard: HeldGuard) {
        bump(&self.counters.errands);
        self.machine.report_guard(guard);
    }

    fn memory_rests(&mut self) -> bool {
        self.machine.memory_rests()
    }

    fn scavenge(&mut self) {
        bump(&self.counters.errands);
        self.machine.scavenge();
    }

    fn resize(&mut self) {
        bump(&self.counters.errands);
        self.machine.resize();
    }

    fn may_wait_for_ever(&mut self) -> bool {
        self.machine.may_wait_for_ever()
    }

    fn report_asleep(&mut self) {
        bump(&self.counters.errands);
        self.machine.report_asleep();
    }

    fn trace(&mut self) {
        bump(&self.counters.errands);
        self.machine.trace();
    }

    fn wait(&mut self, pause: Pause) -> Wake {
        self.machine.wait(pause)
    }
}
