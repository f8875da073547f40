//! GOMAXPROCS at run time: more Ps or fewer, while goroutines run.
//!
//! # Problem
//!
//! The quota of a container changes, or a program gives cores to somebody else for a while. Go stops
//! the world for it, since its table of Ps is read by everybody and a P that goes must be held by
//! nobody. Here nothing stops.
//!
//! # How
//!
//! The table has room for [`ROOM`] Ps from the start, and entries are made once and never freed: a
//! thief, a taker or the monitor may follow a number at any time. A P that is not wanted is *retired*:
//! on a list of its own, with an empty queue, held by nobody and given to nobody.
//!
//! *Fewer*: idle Ps are retired at once. What is missing then is the *surplus*: so many Ps must still
//! come in ([`Idle`](crate::idle::Idle)). Each P that would become idle is retired in place of it. Those
//! that are busy do not become idle by themselves, so they are pressed: the timer thread asks all
//! goroutines to give way ([`Shared::press`]), as some may not hear, and again each millisecond until
//! enough Ps are in. One that computes and does not hear is interrupted by signal; whether it computes
//! is told by its thread's clock, as a thread that blocks must not be disturbed: a signal would move
//! its clock, by which the monitor judges it. A goroutine that gives way while there is a surplus goes back to a
//! queue, its M to its own stack, and there the M gives what is queued on the P to others, and the P up. A goroutine
//! that blocks in the kernel loses its P to the monitor as ever; the taker retires it.
//!
//! *More*: the surplus is cancelled first, then retired Ps are recalled, then new ones are made; each
//! is handed over like a P that was taken: to an M if there is work, else to the idle list.
//!
//! # Why nothing is lost
//!
//! A P that is retired leaves through [`Idle::release`](crate::idle::Idle::release), like one that
//! becomes idle: whoever relied on its M as a spinner is served by the same last look, which finds
//! no idle P and leaves *need*. What was queued on it is submitted again, by a put where it is nobody's in
//! particular and a [`notify`](Shared::notify) after the P is gone. At least one P stays.
//!
//! *surplus > 0 ⇒ no P is idle* (both change under one lock), so "every wanted P is idle" is never
//! said while one too many still runs.
//!
//! # What a retired P keeps
//!
//! The embedding's pointer, and what hangs on it, until the scheduler ends: as an idle one does.
//!
//! # Source
//!
//! Go's `procresize` (`proc.go`), which this replaces.

use std::sync::PoisonError;

use crate::{
    entry::enter,
    error::Error,
    handoff::{self, Turn},
    idle::Recall,
    proc::Proc,
    shared::Shared,
    sync::{Ordering, now},
};

/// How many Ps a scheduler can have, unless it began with more.
pub(crate) const ROOM: usize = 1024;

/// Nanoseconds until goroutines on Ps that are too many are asked again.
pub(crate) const PRESS: u64 = 1_000_000;

/// Nanoseconds of processor time between two looks that show that a goroutine computes. A handler that
/// has interrupted a blocked thread takes less.
const COMPUTES: u64 = 100_000;

impl Shared {
    /// How many Ps there shall be.
    pub(crate) fn wanted_procs(&self) -> usize {
        // Relaxed: a number; those who must not be misled read the idle word first (`monitor`).
        self.wanted.load(Ordering::Relaxed)
    }

    /// How many there can be.
    pub(crate) fn most_procs(&self) -> usize {
        self.procs.room().min(self.config.max_threads - 1)
    }

    /// Makes it so.
    pub(crate) fn set_procs(&self, count: usize) -> Result<(), Error> {
        if count == 0 || count > self.most_procs() {
            return Err(Error::Config("procs must be 1 to 1,024, and less than max_threads"));
        }
        let _one_at_a_time = self.sizing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopping() {
            return Ok(());
        }
        let before = self.wanted_procs();
        if count > before {
            // In this order, and the other way round below: who compares the two counts may find too
            // few Ps idle, never too many.
            self.wanted.store(count, Ordering::Relaxed);
            (before..count).for_each(|_| self.one_proc_more());
        } else {
            let _entered = enter();
            self.idle.retire_procs(before - count);
            self.wanted.store(count, Ordering::Relaxed);
            self.press();
        }
        Ok(())
    }

    /// One P more than there would be.
    fn one_proc_more(&self) {
        let recall = {
            let _entered = enter();
            self.idle.recall_proc()
        };
        let proc = match recall {
            Recall::Stays => return,
            Recall::Back(proc) => proc,
            Recall::None => self.make_proc(),
        };
        let _entered = enter();
        handoff::hand_over(self, self.procs.get(proc));
    }

    /// Makes a P, which the caller holds. Calls the embedding.
    pub(crate) fn make_proc(&self) -> usize {
        let index = self.procs.len();
        self.queues.visit().add_proc();
        if let Some(leaving) = self.queues.visit_leaving() {
            leaving.add_proc();
        }
        self.procs.add(Proc::new(index, self.hooks.proc_start(index)));
        index
    }

    /// While there are Ps too many, or stacks too few that may lie on some shelf, or Ps at the queues of a
    /// policy that is leaving: asks goroutines to give way, again and again.
    pub(crate) fn press(&self) {
        let swaps = self.queues.is_leaving();
        if self.idle.surplus() == 0 && !self.short_of_stacks() && !swaps {
            return;
        }
        let busy = self.machines().filter(|m| m.proc().is_some() && !m.task().is_null());
        for m in busy {
            handoff::request_preempt(self, m, Turn::of(m));
            if m.has_computed(COMPUTES) {
                crate::glue::signal(self, m);
            } else if swaps {
                // It stands in the kernel, and would keep the queues.
                handoff::take(self, m, m.switches());
            }
        }
        self.timers.look_again(now() + PRESS);
    }
}
