//! [`Desk`]: errands that the monitor has and must not run itself.
//!
//! A thread of each runtime, the *attendant*, sits behind it, without a P: it writes trace lines, asks for
//! collections, gives free memory back, counts cores, and looks for deadlocks. One word holds a bit per errand, so
//! posting twice is posting once.
//!
//! Sysmon asks for a look for deadlocks some times after everything has come to rest. If nothing is certain then, since
//! a thread is awake that may wake somebody, the attendant [watches](park::watch) for such a thread that falls asleep
//! or ends, and has sysmon ask again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use sched_core::park::{self, WaitReason, Waiter, Watch};
use sched_core::{Error, Scheduler};

use super::upkeep::{Told, Upkeep};
use crate::config::{Cores, Settings};
use crate::dump::Dump;
use crate::gc;
use crate::make::Make;
use crate::scavenge::Scavenge;
use crate::trace::{GuardLine, SchedLine, say};

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
    /// Memory was freed.
    Scavenge = 16,
    /// A look how many cores there are.
    Resize = 32,
    /// A look whether all goroutines wait for each other.
    Asleep = 64,
}

/// Where errands are posted.
#[derive(Debug)]
pub(crate) struct Desk {
    begin: Instant,
    /// Bits of [`Errand`].
    posted: AtomicU32,
    /// The attendant, once it sits there.
    attendant: OnceLock<Waiter>,
    /// Whether the number of Ps is that of the machine, and follows it. Held while the number changes, so that
    /// what somebody has set is not set again by an attendant that looked before.
    follows: Mutex<bool>,
    /// What it follows.
    cores: Cores,
    /// Whether a deadlock ends the process.
    detects: bool,
    /// Whether the attendant looks after free memory.
    upkeep: Told,
    /// Makes the policy of that.
    scavenge: Make<Scavenge>,
}

impl Desk {
    pub(crate) fn new(settings: &Settings) -> Self {
        Desk {
            begin: Instant::now(),
            posted: AtomicU32::new(0),
            attendant: OnceLock::new(),
            follows: Mutex::new(settings.fixed_procs().is_none()),
            cores: settings.cores.clone(),
            detects: settings.detect_deadlocks,
            upkeep: Told::default(),
            scavenge: settings.scavenge.clone(),
        }
    }

    /// Asks for `errand`. Never waits.
    pub(crate) fn post(&self, errand: Errand) {
        // Release: what was done before is seen by the attendant; pairs with the Acquire in `serve`.
        self.posted.fetch_or(errand as u32, Ordering::Release);
        if let Some(attendant) = self.attendant.get() {
            attendant.unpark();
        }
    }

    fn follows(&self) -> MutexGuard<'_, bool> {
        // One flag; poison carries no news.
        self.follows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody says how many Ps there shall be: the machine is not asked any more.
    pub(crate) fn fix_procs(&self, scheduler: &Scheduler, procs: usize) -> Result<(), Error> {
        let mut follows = self.follows();
        scheduler.set_procs(procs)?;
        *follows = false;
        Ok(())
    }

    /// Has as many Ps as the process may use cores now, as `count` says, if there can be so many.
    fn follow(&self, scheduler: &Scheduler, count: impl FnOnce() -> usize) {
        if !*self.follows() {
            return;
        }
        // Without the lock: it reads files.
        let procs = count().min(scheduler.most_procs());
        let follows = self.follows();
        if *follows && procs != scheduler.procs() {
            let set = scheduler.set_procs(procs);
            debug_assert!(set.is_ok(), "{procs} processors can be had");
        }
    }

    /// Whether memory was freed that the attendant does not know of, or unused stacks have some.
    pub(crate) fn memory_rests(&self, stacks_rest: bool) -> bool {
        self.upkeep.rests(stacks_rest)
    }

    /// The attendant's life.
    pub(crate) fn serve(&self, scheduler: &Scheduler) {
        let monitor = scheduler.monitor();
        scheduler.adopt_thread();
        self.attendant.get_or_init(park::current);
        let mut upkeep = Upkeep::new(&self.scavenge);
        // Since the last look for a deadlock, which found nothing certain.
        let mut watch: Option<Watch> = None;
        loop {
            // Acquire: pairs with the Release in `post`. A post before the attendant sat down is
            // found here, a later one finds the attendant and leaves a permit.
            let posted = self.posted.swap(0, Ordering::Acquire);
            if posted & Errand::Trace as u32 != 0 {
                let (at, load) = (self.begin.elapsed(), monitor.load());
                say(SchedLine { at, load, stats: scheduler.stats() });
            }
            if posted & Errand::Collect as u32 != 0 {
                gc::request();
            }
            if posted & Errand::Guard as u32 != 0
                && let Some(waiting) = gc::waiting()
            {
                say(GuardLine::new(waiting, &monitor.holders()));
            }
            if posted & Errand::Resize as u32 != 0 {
                self.follow(scheduler, || self.cores.procs());
            }
            if self.detects && posted & Errand::Asleep as u32 != 0 {
                // Before the look: of what changes after it this thread is told.
                let told = watch.take().is_some_and(|watch| watch.is_over());
                watch = Some(park::watch());
                check_deadlock(scheduler);
                if told {
                    // Who told may still be there while it ends, and does not tell again.
                    monitor.wake();
                }
            }
            if watch.take_if(|watch| watch.is_over()).is_some() {
                monitor.wake();
            }
            if posted & Errand::Stop as u32 != 0 {
                return;
            }
            let due = upkeep.run(scheduler, &self.upkeep);
            if posted == 0 {
                match due {
                    Some(due) => drop(park::park_until(WaitReason::Park, due)),
                    None => park::park(WaitReason::Park),
                }
            }
        }
    }
}

/// Ends the process if no goroutine will ever run again.
fn check_deadlock(scheduler: &Scheduler) {
    if scheduler.deadlock().is_some() {
        let dump = Dump::take(scheduler);
        let futures = scheduler.futures();
        say(format_args!(
            "runtime: all goroutines are asleep: deadlock; {futures} futures wait\n\n{dump}"
        ));
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use sched_core::{Config, NoHooks};
    use sysmon::Machine;

    use super::super::monitor::Watched;
    use super::*;

    /// A desk of a scheduler with one P and at most three, which follows the machine.
    fn following(test: impl FnOnce(&Desk, &Scheduler)) {
        let config = Config { procs: 1, max_threads: 4, ..Config::default() };
        let scheduler = Scheduler::new(config, Arc::new(NoHooks)).expect("threads and stacks");
        test(&Desk { follows: Mutex::new(true), ..Desk::new(&Settings::read()) }, &scheduler);
        assert_eq!(scheduler.shutdown(None).left, []);
    }

    #[test]
    fn a_number_that_is_set_while_cores_are_counted_stays() {
        following(|desk, scheduler| {
            desk.follow(scheduler, || 3);
            assert_eq!(scheduler.procs(), 3);
            desk.follow(scheduler, || {
                desk.fix_procs(scheduler, 2).expect("there can be two");
                3
            });
            desk.follow(scheduler, || 3);
            assert_eq!(scheduler.procs(), 2);
        });
    }

    #[test]
    fn of_more_cores_than_there_can_be_processors_the_most_are_used() {
        following(|desk, scheduler| {
            desk.follow(scheduler, || 64);
            assert_eq!(scheduler.procs(), 3);
        });
    }

    /// The attendant sleeps, and there is no free memory that anybody would tell it of.
    #[test]
    fn sysmon_sees_stacks_of_goroutines_that_wait_until_they_are_trimmed() {
        let config = Config { procs: 1, trim_after: Some(Duration::ZERO), ..Config::default() };
        let scheduler = Scheduler::new(config, Arc::new(NoHooks)).expect("threads and stacks");
        let desk = Desk { upkeep: Told::without_memory(), ..Desk::new(&Settings::read()) };
        let mut watched = Watched::new(scheduler.monitor(), Arc::new(desk));
        let (tell, told) = mpsc::channel();
        let waits = move || {
            tell.send(park::current()).expect("the test listens");
            park::park(WaitReason::Park);
        };
        let waits = scheduler.spawn(waits).expect("it is open");
        let waiter = told.recv().expect("it tells");
        // In thread mode nobody's is trimmed.
        assert_eq!(watched.memory_rests(), scheduler.mode().is_own_tls());
        while scheduler.stacks_rest() {
            scheduler.age_stacks();
        }
        assert!(!watched.memory_rests(), "nothing is left to do");
        waiter.unpark();
        waits.join().expect("no panic");
        assert_eq!(scheduler.shutdown(None).left, []);
    }
}
