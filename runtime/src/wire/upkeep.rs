//! [`Upkeep`]: free memory of the process, and that of unused stacks, goes back step by step, on the
//! attendant's thread.
//!
//! alloc-core's scavenger says when it wants to be called again: after a fifth of a second while
//! free memory grows old, else not at all. Then sysmon tells when memory was freed (see
//! [`rests`](Upkeep::rests)), as it looks anyway while anything runs.
//!
//! The heap is the process's, and has one scavenger at a time. The attendant of a second runtime finds
//! it taken, and asks again each second.
//!
//! Stacks that lie unused are made older once a second; what they kept from deep calls goes back at the
//! second step.
//!
//! # Falling asleep
//!
//! ```text
//!   attendant: asleep = 1; fence; look for free memory; sleep
//!   somebody:  free memory;   sysmon: look for it; fence; look whether asleep
//! ```
//!
//! Either the attendant's fence comes first, and sysmon sees that it sleeps, or sysmon's does, and then
//! the attendant sees the memory that sysmon has seen.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use alloc_core::global;
use alloc_core::pages::os::Os;
use alloc_core::scavenge::{ByAge, Scavenger};
use sched_core::Scheduler;

/// How soon to ask again while another runtime scavenges.
const TAKEN: Duration = Duration::from_secs(1);

/// Between two steps of the stacks.
const STACKS: Duration = Duration::from_secs(1);

/// The scavenger, in the attendant's hands.
pub(super) struct Upkeep {
    begin: Instant,
    scavenger: Option<Scavenger<'static, Os, ByAge>>,
    due: Option<Instant>,
    stacks_due: Option<Instant>,
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").field("due", &self.due).finish_non_exhaustive()
    }
}

impl Upkeep {
    pub(super) fn new() -> Self {
        Upkeep { begin: Instant::now(), scavenger: None, due: None, stacks_due: None }
    }

    /// Does what is due. Returns when to come again; `None`: when woken.
    pub(super) fn run(&mut self, scheduler: &Scheduler, asleep: &AtomicBool) -> Option<Instant> {
        // Relaxed: sysmon needs to know before long, not at once.
        asleep.store(false, Ordering::Relaxed);
        let now = Instant::now();
        self.steps(scheduler, now);
        if self.next().is_none() {
            // Relaxed: ordered by the fence, which pairs with the one in `rests`.
            asleep.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if global::heap().has_resting_memory() || scheduler.stacks_rest() {
                self.steps(scheduler, now);
            }
        }
        self.next()
    }

    fn next(&self) -> Option<Instant> {
        self.due.into_iter().chain(self.stacks_due).min()
    }

    fn steps(&mut self, scheduler: &Scheduler, now: Instant) {
        if self.due.is_none_or(|due| due <= now) {
            self.step(now);
        }
        if self.stacks_due.is_none_or(|due| due <= now) {
            let rest = scheduler.stacks_rest();
            if rest {
                scheduler.age_stacks();
            }
            self.stacks_due = rest.then(|| now + STACKS);
        }
    }

    fn step(&mut self, now: Instant) {
        if self.scavenger.is_none() {
            self.scavenger = global::heap().scavenger(ByAge::default());
        }
        let pause = match &mut self.scavenger {
            Some(scavenger) => scavenger.step(now - self.begin),
            None => Some(TAKEN),
        };
        self.due = pause.map(|pause| now + pause);
    }

    /// Whether memory was freed, or unused stacks may have some, and the attendant sleeps; asked by
    /// sysmon.
    pub(super) fn rests(stacks_rest: bool, asleep: &AtomicBool) -> bool {
        if !global::heap().has_resting_memory() && !stacks_rest {
            return false;
        }
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fence, which pairs with the one in `run`.
        asleep.load(Ordering::Relaxed)
    }
}
