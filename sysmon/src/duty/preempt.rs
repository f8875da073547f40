//! Makes a task yield that keeps its processor for longer than a slice while others wait.
//!
//! Two steps, from gentle to rough:
//!
//! 1. The slice is used up: [`Machine::request_preempt`]. A task that calls into the scheduler
//!    now and then yields there, at no cost.
//! 2. At a later look the *same task* still runs *the same slice*, and its thread's clock moved:
//!    [`Machine::signal`], again after [`Limits::signal_gap`] while it does not help. The request is made
//!    again each time: see below.
//!
//! The clock comes before the signal, always: a blocked thread must not be signalled, or its clock
//! moves and [`Retake`](crate::duty::Retake) takes it for a running one.
//!
//! The same slice is recognised without an identity: it is the same if it is at least as old as
//! the request. (A younger one began after it.) Without a processor there is no slice, and the tick
//! says enough.
//!
//! A worker that runs without a processor — it came back from a blocking call after its processor
//! was taken, and computes without entering the scheduler — uses a core that belongs to others.
//! Its slice counts as used up from the start.
//!
//! A request may be lost. Between two tasks a worker that has counted the switch, and not yet said which task is
//! next, may lose its core for a slice and more. The machine then asks the former task, or nobody; the new one
//! runs with the tick of the look, and a signal alone would find nothing asked of it.
//!
//! Nothing waits, nobody is asked: a task that yields to nobody only pays for the switch. Go asks
//! all the same, since its collector needs the safe-point; ours does not.

use std::time::Duration;

use crate::duty::Wish;
use crate::limits::Limits;
use crate::machine::{Machine, Worker, WorkerId};
use crate::sight::{Motion, Sights};
use crate::table::Table;

/// The duty that ends slices. See the [module's example](crate::duty#example).
#[derive(Debug)]
pub struct Preempt {
    limits: Limits,
    requests: Table<Request>,
}

/// A worker that was asked to yield.
#[derive(Debug, Clone, Copy)]
struct Request {
    worker: WorkerId,
    tick: u64,
    asked: Duration,
    signalled: Option<Duration>,
}

impl Request {
    /// Whether `worker`, whom it was made to, is still in the same slice.
    fn concerns(&self, worker: &Worker, now: Duration) -> bool {
        let same_slice = !worker.holds || worker.slice_age >= now.saturating_sub(self.asked);
        self.tick == worker.tick && same_slice
    }
}

impl Preempt {
    /// The rule with these limits, for so many workers at most.
    pub fn new(limits: Limits, workers: usize) -> Self {
        Self { limits, requests: Table::with_room(workers) }
    }

    /// Judges all workers; wishes to be back when the next slice ends.
    pub fn look(
        &mut self,
        now: Duration,
        waiting: usize,
        sights: &Sights,
        machine: &mut impl Machine,
    ) -> Wish {
        self.requests.retain(|request| {
            sights.find(request.worker).is_some_and(|sight| request.concerns(&sight.worker, now))
        });
        if waiting == 0 {
            return None;
        }
        let mut nearest: Wish = None;
        for sight in sights.iter() {
            let left = self.slice_left(&sight.worker);
            if !left.is_zero() {
                nearest = Some(nearest.map_or(left, |nearest| nearest.min(left)));
            } else if sight.worker.holds || sight.motion == Motion::Ran {
                self.press(now, &sight.worker, sight.motion, machine);
            }
        }
        nearest
    }

    fn slice_left(&self, worker: &Worker) -> Duration {
        if worker.holds {
            self.limits.slice.saturating_sub(worker.slice_age)
        } else {
            Duration::ZERO
        }
    }

    /// Asks the worker, or asks and signals it if it was asked before and runs on.
    fn press(
        &mut self,
        now: Duration,
        worker: &Worker,
        motion: Motion,
        machine: &mut impl Machine,
    ) {
        let request = self.requests.iter_mut().find(|request| request.worker == worker.id);
        let Some(request) = request else {
            machine.request_preempt(worker.id);
            let (worker, tick) = (worker.id, worker.tick);
            self.requests.push(Request { worker, tick, asked: now, signalled: None });
            return;
        };
        let rested = request.signalled.is_none_or(|last| now - last >= self.limits.signal_gap);
        if motion == Motion::Ran && rested {
            machine.request_preempt(worker.id);
            machine.signal(worker.id);
            request.signalled = Some(now);
        }
    }
}
