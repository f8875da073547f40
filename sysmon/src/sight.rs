//! What two looks at the same worker tell together: did it switch, did its clock move.
//!
//! One look says little: a tick and a clock reading are just numbers. [`Sights`] keeps those of
//! the last look and turns each pair into a [`Motion`], which all duties judge by. Clocks are read
//! once per look and worker (0.43 µs on Linux), whatever the number of duties.
//!
//! Invariant: `since` of a sight is the time of the first look that saw this tick with this clock
//! reading, so `Stood(d)` is a lower bound of the time for which the thread did not run.
//!
//! A thread that stands still cannot change what it is doing: to fall asleep, to leave the
//! scheduler, to do anything at all it must run, and its clock shows that. So an answer about a
//! standing thread holds for the whole standstill. [`Sight::settled`] records that the question
//! was asked, and a blocked worker whose processor cannot be taken costs one `/proc` read, not one
//! per look.

use std::time::Duration;

use crate::machine::{Machine, Snapshot, Worker, WorkerId};
use crate::table::Table;

/// What became of a worker between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    /// It is new, it switched tasks, or its clock cannot be read.
    Fresh,
    /// The same task, and the thread ran.
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
}

impl Sights {
    /// No worker seen yet, with room for so many.
    pub fn with_room(workers: usize) -> Self {
        Sights { now: Table::with_room(workers), before: Table::with_room(workers) }
    }

    /// Compares the running workers of `snapshot` with those of the look before.
    ///
    /// Quadratic in the number of running workers when their order changes from look to look,
    /// linear when it does not.
    pub fn update(&mut self, now: Duration, snapshot: &Snapshot, machine: &mut impl Machine) {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
        for (place, worker) in snapshot.workers.iter().filter(|worker| worker.running).enumerate() {
            let cpu = machine.cpu_time(worker.id);
            let before = find(&self.before, place, worker.id);
            self.now.push(compare(now, *worker, cpu, before));
        }
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

/// Looks for `id`, first where it is if nothing changed.
fn find(sights: &[Sight], place: usize, id: WorkerId) -> Option<&Sight> {
    let same = |sight: &&Sight| sight.worker.id == id;
    sights.get(place).filter(same).or_else(|| sights.iter().find(same))
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
