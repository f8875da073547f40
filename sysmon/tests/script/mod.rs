//! A machine that does what the test says, and a log of what the monitor did to it.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use std::collections::HashMap;
use std::time::Duration;

use sysmon::{
    Clock, HeldGuard, KernelState, Limits, Machine, ManualClock, Monitor, Pause, Snapshot, Wake,
    Worker, WorkerId,
};

/// What the monitor did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Take(u64),
    Request(u64),
    Signal(u64),
    Collect,
    Guard(u64),
    Scavenge,
    Asleep,
    Trace,
}

/// A worker of the script.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) holds: bool,
    pub(crate) running: bool,
    pub(crate) tick: u64,
    pub(crate) slice_began: Duration,
    pub(crate) cpu: Option<Duration>,
    pub(crate) state: KernelState,
    /// Whether its thread's clock follows the time.
    pub(crate) computes: bool,
    pub(crate) refuses: bool,
}

#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) clock: ManualClock,
    pub(crate) actors: HashMap<u64, Actor>,
    pub(crate) waiting: usize,
    pub(crate) collected: Option<Duration>,
    pub(crate) guard: Option<(u64, Duration)>,
    /// Whether free memory waits for somebody to give it back.
    pub(crate) rests: bool,
    /// All tasks wait.
    pub(crate) asleep: bool,
    pub(crate) resizes: usize,
    pub(crate) deeds: Vec<Deed>,
    pub(crate) asked_kernel: usize,
    /// Clocks that were read.
    pub(crate) read: usize,
    /// How many more sleeps `wait` allows before it says stop.
    pub(crate) sleeps: usize,
    /// How many of these end as a task waits.
    pub(crate) calls: usize,
    pub(crate) pauses: Vec<Pause>,
}

/// More workers than any script has.
const MOST: usize = 4096;

pub(crate) const MICRO: Duration = Duration::from_micros(1);
pub(crate) const MILLI: Duration = Duration::from_millis(1);

/// A monitor over an empty script, and the clock of both.
pub(crate) fn monitor(limits: Limits) -> Monitor<Script, ManualClock> {
    let clock = ManualClock::new();
    let script = Script {
        clock: clock.clone(),
        actors: HashMap::new(),
        waiting: 0,
        collected: None,
        guard: None,
        rests: false,
        asleep: false,
        resizes: 0,
        deeds: Vec::new(),
        asked_kernel: 0,
        read: 0,
        sleeps: 0,
        calls: 0,
        pauses: Vec::new(),
    };
    Monitor::new(script, clock, limits)
}

impl Script {
    /// A worker that holds a processor and has just switched to a task.
    pub(crate) fn add(&mut self, id: u64, state: KernelState) -> &mut Actor {
        let actor = Actor {
            holds: true,
            running: true,
            tick: 1,
            slice_began: self.clock.now(),
            cpu: Some(Duration::ZERO),
            state,
            computes: state == KernelState::Runnable,
            refuses: false,
        };
        self.actors.entry(id).insert_entry(actor).into_mut()
    }

    pub(crate) fn actor(&mut self, id: u64) -> &mut Actor {
        self.actors.get_mut(&id).expect("the script knows its actors")
    }

    /// Lets time pass: computing threads use processor time.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        for actor in self.actors.values_mut().filter(|actor| actor.computes) {
            actor.cpu = actor.cpu.map(|cpu| cpu + time);
        }
    }

    /// What was done since the last call.
    pub(crate) fn deeds(&mut self) -> Vec<Deed> {
        std::mem::take(&mut self.deeds)
    }
}

impl Machine for Script {
    fn most_workers(&self) -> usize {
        MOST
    }

    fn snapshot(&mut self, into: &mut Snapshot) {
        assert!(into.workers.is_empty() && into.waiting == 0, "a snapshot starts empty");
        into.waiting = self.waiting;
        let now = self.clock.now();
        for (&id, actor) in &self.actors {
            into.workers.push(Worker {
                id: WorkerId(id),
                holds: actor.holds,
                running: actor.running,
                tick: actor.tick,
                slice_age: if actor.holds { now - actor.slice_began } else { Duration::ZERO },
            });
        }
    }

    fn cpu_time(&mut self, worker: WorkerId) -> Option<Duration> {
        self.read += 1;
        self.actors[&worker.0].cpu
    }

    fn kernel_state(&mut self, worker: WorkerId) -> KernelState {
        self.asked_kernel += 1;
        self.actors[&worker.0].state
    }

    fn take(&mut self, seen: &Worker) -> bool {
        let actor = self.actor(seen.id.0);
        if actor.refuses || actor.tick != seen.tick {
            return false;
        }
        actor.holds = false;
        self.deeds.push(Deed::Take(seen.id.0));
        true
    }

    fn request_preempt(&mut self, worker: WorkerId) {
        self.deeds.push(Deed::Request(worker.0));
    }

    fn signal(&mut self, worker: WorkerId) {
        assert!(self.actors[&worker.0].computes, "a blocked thread must not be signalled");
        self.deeds.push(Deed::Signal(worker.0));
    }

    fn since_collection(&mut self) -> Option<Duration> {
        self.collected.map(|ended| self.clock.now() - ended)
    }

    fn collect(&mut self) {
        self.deeds.push(Deed::Collect);
    }

    fn oldest_guard(&mut self) -> Option<HeldGuard> {
        self.guard.map(|(id, since)| HeldGuard { id, age: self.clock.now() - since })
    }

    fn report_guard(&mut self, guard: HeldGuard) {
        self.deeds.push(Deed::Guard(guard.id));
    }

    fn memory_rests(&mut self) -> bool {
        self.rests
    }

    fn scavenge(&mut self) {
        self.rests = false;
        self.deeds.push(Deed::Scavenge);
    }

    fn resize(&mut self) {
        self.resizes += 1;
    }

    fn may_wait_for_ever(&mut self) -> bool {
        self.asleep
    }

    fn report_asleep(&mut self) {
        self.deeds.push(Deed::Asleep);
    }

    fn trace(&mut self) {
        self.deeds.push(Deed::Trace);
    }

    fn wait(&mut self, pause: Pause) -> Wake {
        self.pauses.push(pause);
        if let Pause::For(time) = pause {
            self.pass(time);
        }
        match self.sleeps.checked_sub(1) {
            Some(left) => {
                self.sleeps = left;
                match self.calls.checked_sub(1) {
                    Some(left) => {
                        self.calls = left;
                        Wake::Called
                    }
                    None => match pause {
                        Pause::For(_) => Wake::Due,
                        Pause::UntilWoken => Wake::Look,
                    },
                }
            }
            None => Wake::Stop,
        }
    }
}
