//! [`Desk`]: errands that the monitor has and must not run itself.
//!
//! A thread of each runtime, the *attendant*, sits behind it, without a P: it writes trace lines and asks for
//! collections. One word holds a bit per errand, so posting twice is posting once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use sched_core::Scheduler;
use sched_core::park::{self, WaitReason, Waiter};

use crate::gc;
use crate::trace::{GuardLine, SchedLine};

/// What can be asked for.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Errand {
    /// A line about the scheduler.
    Trace = 1,
    /// The end of the attendant.
    Stop = 2,
    /// A collection.
    Collect = 4,
    /// A line about who keeps a collection waiting.
    Guard = 8,
}

/// Where errands are posted.
#[derive(Debug)]
pub(crate) struct Desk {
    begin: Instant,
    /// Bits of [`Errand`].
    posted: AtomicU32,
    /// The attendant, once it sits there.
    attendant: OnceLock<Waiter>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Desk { begin: Instant::now(), posted: AtomicU32::new(0), attendant: OnceLock::new() }
    }

    /// Asks for `errand`. Never waits.
    pub(crate) fn post(&self, errand: Errand) {
        // Release: what was done before is seen by the attendant; pairs with the Acquire in `serve`.
        self.posted.fetch_or(errand as u32, Ordering::Release);
        if let Some(attendant) = self.attendant.get() {
            attendant.unpark();
        }
    }

    /// The attendant's life.
    pub(crate) fn serve(&self, scheduler: &Scheduler) {
        let monitor = scheduler.monitor();
        self.attendant.get_or_init(park::current);
        loop {
            // Acquire: pairs with the Release in `post`. A post before the attendant sat down is
            // found here, a later one finds the attendant and leaves a permit.
            let posted = self.posted.swap(0, Ordering::Acquire);
            if posted & Errand::Trace as u32 != 0 {
                let (at, load) = (self.begin.elapsed(), monitor.load());
                eprintln!("{}", SchedLine { at, load, stats: scheduler.stats() });
            }
            if posted & Errand::Collect as u32 != 0 {
                gc::request();
            }
            if posted & Errand::Guard as u32 != 0
                && let Some(waiting) = gc::waiting()
            {
                eprintln!("{}", GuardLine::new(waiting, &monitor.holders()));
            }
            if posted & Errand::Stop as u32 != 0 {
                return;
            }
            if posted == 0 {
                park::park(WaitReason::Park);
            }
        }
    }
}
