//! What two looks at the same worker tell together: did it switch, did its clock move.
//!
//! One look says little: a tick and a clock reading are just numbers. [`Sights`] keeps those of
//! the last look and turns each pair into a [`Motion`], which all duties judge by. A clock is read
//! once per look at most (0.43 µs on Linux), whatever the number of duties.
//!
//! Those of workers that hold a processor are read at each look. The others are mostly asleep in the kernel, a
//! thousand of them in a program with a thousand reads under way; only one that computes there is of interest, to
//! [`Preempt`](crate::duty::Preempt), and it is no worse for a few looks more. So they take turns, [`TURNS`] a look.
//!
//! Invariant: `since` of a sight is the time of the first reading that saw this tick with this clock,
//! so `Stood(d)` is a lower bound of the time for which the thread did not run.
//!
//! A thread that stands still cannot change what it is doing: to fall asleep, to leave the
//! scheduler, to do anything at all it must run, and its clock shows that. So an answer about a
//! standing thread holds for the whole standstill. [`Sight::settled`] records that the question
//! was asked, and a blocked worker whose processor cannot be taken costs one `/proc` read, not one
//! per look.

use std::time::Duration;

use crate::machine::{Machine, Snapshot, Worker, WorkerId};
use crate::table::Table;

/// Clocks of workers without a processor that are read per look: 14 µs.
const TURNS: usize = 32;

/// What became of a worker between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    /// Nothing is known: it is new, it switched tasks, its clock cannot be read, or was not at this look.
    Fresh,
    /// The same task, and the thread ran since its clock was last read.
    Ran,
    /// The same task, and the thread did not run for at least this long.
    Stood(Duration),
}

/// A worker with what the last two looks say about it.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    /// The worker, as it was at this look.
    pub worker: Worker,
    /// What it did since the look before.
    pub motion: Motion,
    /// Whether this standstill was judged already. Set by the duty that judges, cleared by motion.
    pub settled: bool,
    cpu: Option<Duration>,
    since: Duration,
}

/// The running workers of the last look.
#[derive(Debug)]
pub struct Sights {
    now: Table<Sight>,
    before: Table<Sight>,
    /// Whose turn it is among those without a processor: the first of this name or a later one.
    turn: WorkerId,
}

impl Sights {
    /// No worker seen yet, with room for so many.
    pub fn with_room(workers: usize) -> Self {
        let (now, before) = (Table::with_room(workers), Table::with_room(workers));
        Sights { now, before, turn: WorkerId(0) }
    }

    /// Compares the running workers of `snapshot` with those of the look before, in one walk over both: it gives
    /// them ascending by name. One that is out of order is [`Fresh`](Motion::Fresh).
    pub fn update(&mut self, now: Duration, snapshot: &Snapshot, machine: &mut impl Machine) {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
        let mut before = self.before.iter().peekable();
        let mut turns = Turns { first: self.turn, left: TURNS, next: None };
        for &worker in snapshot.workers.iter().filter(|worker| worker.running) {
            while before.next_if(|sight| sight.worker.id < worker.id).is_some() {}
            let before = before.next_if(|sight| sight.worker.id == worker.id);
            self.now.push(match worker.holds || turns.take(worker.id) {
                true => compare(now, worker, machine.cpu_time(worker.id), before),
                false => pass_over(now, worker, before),
            });
        }
        self.turn = turns.next.unwrap_or(WorkerId(0));
    }

    /// The worker of this name, if it was seen.
    pub fn find(&self, id: WorkerId) -> Option<&Sight> {
        let place = self.now.binary_search_by_key(&id, |sight| sight.worker.id);
        place.ok().map(|place| &self.now[place])
    }

    /// The workers seen, for a duty that judges.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Sight> {
        self.now.iter_mut()
    }

    /// The workers seen.
    pub fn iter(&self) -> impl Iterator<Item = &Sight> {
        self.now.iter()
    }
}

/// The turns of one look.
struct Turns {
    first: WorkerId,
    left: usize,
    /// The first that found none left.
    next: Option<WorkerId>,
}

impl Turns {
    /// Whether it is the turn of `id`. Asked in ascending order.
    fn take(&mut self, id: WorkerId) -> bool {
        if id < self.first {
            return false;
        }
        if self.left == 0 {
            self.next.get_or_insert(id);
            return false;
        }
        self.left -= 1;
        true
    }
}

/// A worker whose clock is not read: what was known of the same task stays.
fn pass_over(now: Duration, worker: Worker, before: Option<&Sight>) -> Sight {
    let fresh = Sight { worker, motion: Motion::Fresh, settled: false, cpu: None, since: now };
    match before {
        Some(before) if before.worker.tick == worker.tick => {
            Sight { settled: before.settled, cpu: before.cpu, since: before.since, ..fresh }
        }
        _ => fresh,
    }
}

fn compare(now: Duration, worker: Worker, cpu: Option<Duration>, before: Option<&Sight>) -> Sight {
    let fresh = Sight { worker, motion: Motion::Fresh, settled: false, cpu, since: now };
    let Some(before) = before else { return fresh };
    if cpu.is_none() || before.cpu.is_none() || before.worker.tick != worker.tick {
        return fresh;
    }
    if before.cpu != cpu {
        return Sight { motion: Motion::Ran, ..fresh };
    }
    let motion = Motion::Stood(now.saturating_sub(before.since));
    Sight { motion, settled: before.settled, since: before.since, ..fresh }
}
