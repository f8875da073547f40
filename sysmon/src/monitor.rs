//! All duties together: one look, and the loop around it.
//!
//! A look is:
//!
//! 1. take a snapshot, compare it with the last one ([`Sights`]);
//! 2. retake, then preempt: a processor that was just taken needs no preemption;
//! 3. collections, guards, free memory, cores, deadlocks, traces;
//! 4. sleep for the back-off's pause, or until the nearest wish of a duty.
//!
//! The machine is idle when no worker holds a processor and nothing waits. Workers that run without
//! a processor do not count: while all processors are idle, they disturb nobody.
//!
//! A look neither allocates nor frees: the tables are made with the monitor
//! ([`Table`](crate::Table)).

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::counters::{Counters, Tally};
use crate::duty::{Asleep, Collect, GuardWatch, Preempt, Resize, Retake, Scavenge, Trace, Wish};
use crate::limits::Limits;
use crate::machine::{Machine, Pause, Snapshot, Wake};
use crate::sight::Sights;

/// The least sleep between two looks, whatever a duty wishes.
const SHORTEST: Duration = Duration::from_micros(50);

/// A monitor of one machine.
///
/// Made, then either driven by [`look`](Self::look) or left to [`run`](Self::run) on a thread of
/// its own. The [crate's example](crate#example) does the former.
#[derive(Debug)]
pub struct Monitor<M, C> {
    machine: M,
    clock: C,
    counters: Arc<Counters>,
    snapshot: Snapshot,
    sights: Sights,
    backoff: Backoff,
    retake: Retake,
    preempt: Preempt,
    collect: Collect,
    guards: GuardWatch,
    scavenge: Scavenge,
    resize: Resize,
    asleep: Asleep,
    trace: Trace,
    /// Whether somebody may have woken it since the last look.
    woken: bool,
}

impl<M: Machine, C: Clock> Monitor<M, C> {
    /// A monitor that has seen nothing yet. Takes all the memory it will ever need.
    pub fn new(machine: M, clock: C, limits: Limits) -> Self {
        let workers = machine.most_workers();
        Self {
            machine,
            clock,
            counters: Arc::default(),
            snapshot: Snapshot::with_room(workers),
            sights: Sights::with_room(workers),
            backoff: Backoff::new(limits),
            retake: Retake::new(limits),
            preempt: Preempt::new(limits, workers),
            collect: Collect::new(limits),
            guards: GuardWatch::new(limits),
            scavenge: Scavenge,
            resize: Resize::new(limits),
            asleep: Asleep::default(),
            trace: Trace::new(limits),
            woken: true,
        }
    }

    /// The machine that is watched.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// What this monitor counts, on whatever thread it is.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sysmon::{KernelState, Machine, Pause, Snapshot, Wake, Worker, WorkerId};
    /// # struct Pool;
    /// # impl Machine for Pool {
    /// #     fn most_workers(&self) -> usize { 0 }
    /// #     fn snapshot(&mut self, _: &mut Snapshot) {}
    /// #     fn cpu_time(&mut self, _: WorkerId) -> Option<Duration> { None }
    /// #     fn kernel_state(&mut self, _: WorkerId) -> KernelState { KernelState::Unknown }
    /// #     fn take(&mut self, _: &Worker) -> bool { false }
    /// #     fn request_preempt(&mut self, _: WorkerId) {}
    /// #     fn signal(&mut self, _: WorkerId) {}
    /// #     fn wait(&mut self, _: Pause) -> Wake { Wake::Stop }
    /// # }
    /// use sysmon::{Limits, ManualClock, Monitor};
    /// let monitor = Monitor::new(Pool, ManualClock::new(), Limits::DEFAULT);
    /// let counters = monitor.counters();
    /// monitor.run(); // elsewhere, as a rule
    /// assert_eq!(counters.read().looks, 1);
    /// ```
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The machine that is watched, to be changed between looks.
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// Looks once, as if somebody had woken it; acts, and says how long to sleep before the next look.
    pub fn look(&mut self) -> Pause {
        let now = self.clock.now();
        let machine = &mut Tally { machine: &mut self.machine, counters: &self.counters };
        self.snapshot.clear();
        machine.snapshot(&mut self.snapshot);
        // One walk over those that are in order already, as most machines give them. Allocates nothing.
        self.snapshot.workers.sort_unstable_by_key(|worker| worker.id);
        let active = self.snapshot.workers.iter().any(|worker| worker.holds);
        let waiting = self.snapshot.waiting;

        self.sights.update(now, &self.snapshot, machine);
        let taken = self.retake.look(&mut self.sights, machine);
        let slice = self.preempt.look(now, waiting, &self.sights, machine);
        let idle = !active && waiting == 0;
        let collection = self.collect.look(now, machine).filter(|_| !idle);
        let guard = self.guards.look(now, idle, machine);
        self.scavenge.look(machine);
        self.resize.look(now, idle, machine);
        let question = self.asleep.look(now, idle, mem::replace(&mut self.woken, true), machine);
        let trace = self.trace.look(now, machine);

        let pause = self.backoff.next(active, waiting, taken);
        let pause = nearest(pause, [slice, collection, guard, question, trace]);
        self.counters.looked(pause);
        pause
    }

    /// Looks and sleeps in turns until the machine's [`wait`](Machine::wait) says to stop; gives
    /// the machine back.
    pub fn run(mut self) -> M {
        let mut woke = self.clock.now();
        loop {
            let pause = self.look();
            let looked = self.clock.now();
            let wake = self.machine.wait(pause);
            let now = self.clock.now();
            self.counters.slept(looked.saturating_sub(woke), now.saturating_sub(looked), wake);
            self.woken = wake != Wake::Due;
            woke = now;
            if wake == Wake::Stop {
                return self.machine;
            }
        }
    }
}

/// The shorter of `pause` and the wishes.
fn nearest(pause: Pause, wishes: [Wish; 5]) -> Pause {
    let wish = wishes.into_iter().flatten().min().map(|wish| wish.max(SHORTEST));
    match (pause, wish) {
        (Pause::For(pause), Some(wish)) => Pause::For(pause.min(wish)),
        (Pause::UntilWoken, Some(wish)) => Pause::For(wish),
        (pause, None) => pause,
    }
}
