//! [`Upkeep`]: free memory of the process, and that of unused stacks, goes back step by step, on the
//! attendant's thread.
//!
//! alloc-core's scavenger says when it wants to be called again: after a fifth of a second while
//! free memory grows old, else not at all. Then sysmon tells when memory was freed (see
//! [`rests`](Told::rests)), as it looks anyway while anything runs.
//!
//! A block that is freed into a cache tells nobody, as it would cost each free a store. If a goroutine frees some,
//! and all is idle from then on while the attendant sleeps, they stay in the cache of its P: 2 MiB at most for each P.
//! The next free that leaves a cache wakes the attendant, whose steps empty the others. Rejected: *steps on the chance
//! of it*, of an attendant that no idle process would be rid of.
//!
//! A policy that does not want to be asked again is not: neither it nor sysmon looks for free memory from then on.
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
use alloc_core::scavenge::Scavenger;
use sched_core::Scheduler;

use crate::make::Make;
use crate::scavenge::{Asked, Scavenge};

/// How soon to ask again while another runtime scavenges.
const TAKEN: Duration = Duration::from_secs(1);

/// Between two steps of the stacks.
const STACKS: Duration = Duration::from_secs(1);

/// What sysmon must know of the upkeep.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The attendant has no free memory to look after.
    asleep: AtomicBool,
    /// The policy is not asked any more.
    retired: AtomicBool,
}

impl Told {
    /// Of an attendant that sleeps, and whose policy is asked no more.
    #[cfg(test)]
    pub(super) fn without_memory() -> Self {
        Told { asleep: AtomicBool::new(true), retired: AtomicBool::new(true) }
    }

    /// Whether memory was freed, or unused stacks may have some, and the attendant sleeps; asked by
    /// sysmon.
    pub(super) fn rests(&self, stacks_rest: bool) -> bool {
        if !self.memory_rests() && !stacks_rest {
            return false;
        }
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fence, which pairs with the one in `run`.
        self.asleep.load(Ordering::Relaxed)
    }

    /// Whether free memory is to be looked after.
    fn memory_rests(&self) -> bool {
        // Relaxed: only ever set, and who does not see it yet looks once more.
        !self.retired.load(Ordering::Relaxed) && global::heap().has_resting_memory()
    }
}

/// The scavenger, in the attendant's hands.
pub(super) struct Upkeep<'a> {
    policy: &'a Make<Scavenge>,
    begin: Instant,
    scavenger: Option<Scavenger<'static, Os, Asked>>,
    due: Option<Instant>,
    stacks_due: Option<Instant>,
}

impl fmt::Debug for Upkeep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").field("due", &self.due).finish_non_exhaustive()
    }
}

impl<'a> Upkeep<'a> {
    pub(super) fn new(policy: &'a Make<Scavenge>) -> Self {
        Upkeep { policy, begin: Instant::now(), scavenger: None, due: None, stacks_due: None }
    }

    /// Does what is due. Returns when to come again; `None`: when woken.
    pub(super) fn run(&mut self, scheduler: &Scheduler, told: &Told) -> Option<Instant> {
        // Relaxed: sysmon needs to know before long, not at once.
        told.asleep.store(false, Ordering::Relaxed);
        let now = Instant::now();
        self.steps(scheduler, told, now);
        if self.next().is_none() {
            // Relaxed: ordered by the fence, which pairs with the one in `rests`.
            told.asleep.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if told.memory_rests() || scheduler.stacks_rest() {
                self.steps(scheduler, told, now);
            }
        }
        self.next()
    }

    fn next(&self) -> Option<Instant> {
        self.due.into_iter().chain(self.stacks_due).min()
    }

    fn steps(&mut self, scheduler: &Scheduler, told: &Told, now: Instant) {
        // Relaxed: this thread's own word.
        let retired = told.retired.load(Ordering::Relaxed);
        if !retired && self.due.is_none_or(|due| due <= now) {
            self.step(told, now);
        }
        if self.stacks_due.is_none_or(|due| due <= now) {
            let rest = scheduler.stacks_rest();
            if rest {
                scheduler.age_stacks();
            }
            self.stacks_due = rest.then(|| now + STACKS);
        }
    }

    fn step(&mut self, told: &Told, now: Instant) {
        if self.scavenger.is_none() {
            self.scavenger = global::heap().scavenger(Asked::new(self.policy.make()));
        }
        let pause = match &mut self.scavenger {
            Some(scavenger) => {
                let pause = scavenger.step(now - self.begin);
                // Relaxed: see `memory_rests`.
                told.retired.store(!scavenger.policy().again, Ordering::Relaxed);
                pause
            }
            None => Some(TAKEN),
        };
        self.due = pause.map(|pause| now + pause);
    }
}
