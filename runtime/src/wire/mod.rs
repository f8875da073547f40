//! The only place where the leaves meet: newtypes that implement one leaf's trait with another
//! leaf's functions.
//!
//! | file | trait, of | made from |
//! |---|---|---|
//! | [`alloc`] | `Binding`, alloc-core | entering sched-core's runtime, the caches of its Ps |
//! | [`proc`] | `Hooks`, sched-core | what the allocator and the collector keep per P |
//! | [`stacks`] | `StackSource`, sched-core | alloc-core's slabs of stacks |
//! | [`space`] | `Space`, gc-core | alloc-core's collected cells |
//! | [`world`] | `World`, gc-core | sched-core's Ps, and threads without one |
//! | [`monitor`] | `Machine`, sysmon | sched-core's `Monitor` |
//!
//! [`desk`] is no seam, but the errands that go over it; [`collect`] is who drives the collector,
//! [`upkeep`] is alloc-core's scavenger, [`dumper`] what a signal has written, [`limit`] what a new runtime
//! does to the memory limit.

mod alloc;
mod collect;
mod desk;
mod dumper;
mod limit;
mod monitor;
mod proc;
mod space;
mod stacks;
mod upkeep;
mod world;

pub use alloc::Alloc;
pub(crate) use alloc::is_foreign;
pub(crate) use collect::{Collectors, Share, is_servant};
pub(crate) use limit::Limit;
pub(crate) use proc::Numbers;
pub(crate) use space::Cells;
pub(crate) use world::Procs;

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use alloc_core::global;
use gc_core::pacer::Pacer;
use sched_core::stack::StackSource;
use sched_core::{Error, Hooks, Scheduler};
use sysmon::{Counters, Limits, SystemClock};

use crate::build_error::BuildError;
use crate::config::{Preempt, Settings};
use crate::current;
use crate::gc;
use desk::{Desk, Errand};
use dumper::Dumper;
use monitor::Watched;

/// What each P carries.
pub(crate) fn hooks() -> Arc<dyn Hooks> {
    Arc::new(proc::ProcHooks)
}

/// Where stacks come from: the heap of the process, whether or not it is the global allocator.
pub(crate) fn stacks() -> Box<dyn StackSource> {
    Box::new(stacks::HeapStacks::new(global::heap()))
}

/// The threads of a runtime that run no goroutines: the monitor, the attendant behind the desk, and if it
/// was asked for, one that waits for a signal.
#[derive(Debug)]
pub(crate) struct Attendants {
    desk: Arc<Desk>,
    dumper: Option<Arc<Dumper>>,
    counters: Arc<Counters>,
    threads: Vec<JoinHandle<()>>,
}

impl Attendants {
    /// None yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        let (desk, counters) = (Arc::new(Desk::new(settings)), Arc::default());
        Attendants { desk, dumper: None, counters, threads: Vec::new() }
    }

    /// Starts them for `scheduler`, and hands the collected heap over to `pacer`. After an error the caller shuts the
    /// scheduler down, and then [joins](Self::join) those that were started.
    pub(crate) fn start(
        &mut self,
        scheduler: &Scheduler,
        settings: &Settings,
        pacer: Box<dyn Pacer>,
    ) -> Result<(), BuildError> {
        let dumper = settings.dump_on.map(|signal| Dumper::new(signal).map(Arc::new));
        self.dumper = dumper.transpose().map_err(BuildError::Signal)?;
        self.start_monitor(scheduler, settings)?;
        let (desk, home) = (Arc::clone(&self.desk), scheduler.clone());
        self.spawn("attendant", move || desk.serve(&home))?;
        if let Some(dumper) = self.dumper.clone() {
            let home = scheduler.clone();
            self.spawn("dumper", move || dumper.serve(&home))?;
        }
        // The last that can fail: a runtime that could not be made changes nothing for the others.
        current::COLLECTORS.make_room()?;
        gc::configure(settings, pacer)?;
        current::COLLECTORS.join(scheduler);
        Ok(())
    }

    fn start_monitor(
        &mut self,
        scheduler: &Scheduler,
        settings: &Settings,
    ) -> Result<(), BuildError> {
        let watched = Watched::new(scheduler.monitor(), Arc::clone(&self.desk));
        let monitor = sysmon::Monitor::new(watched, SystemClock::new(), limits(settings));
        self.counters = monitor.counters();
        let watched = scheduler.clone();
        self.spawn("sysmon", move || {
            watched.adopt_thread();
            drop(watched);
            drop(monitor.run());
        })
    }

    fn spawn(
        &mut self,
        name: &'static str,
        life: impl FnOnce() + Send + 'static,
    ) -> Result<(), BuildError> {
        let thread = thread::Builder::new().name(name.into()).spawn(life);
        self.threads.push(thread.map_err(|error| BuildError::Thread { name, error })?);
        Ok(())
    }

    /// What the monitor has done.
    pub(crate) fn monitor(&self) -> sysmon::Stats {
        self.counters.read()
    }

    /// Changes the number of Ps, which no longer follows the machine.
    pub(crate) fn fix_procs(&self, scheduler: &Scheduler, procs: usize) -> Result<(), Error> {
        self.desk.fix_procs(scheduler, procs)
    }

    /// Waits for the scheduler's end, and then for them, on a thread of its own.
    pub(crate) fn end_later(&mut self, scheduler: Scheduler) {
        let threads = std::mem::take(&mut self.threads);
        let (desk, counters) = (Arc::clone(&self.desk), Arc::clone(&self.counters));
        let dumper = self.dumper.take();
        let mut attendants = Attendants { desk, dumper, counters, threads };
        let wait = move || {
            let _ = scheduler.shutdown(None);
            attendants.join(&scheduler);
        };
        // Without a thread nobody waits for the end: the attendants stay, and their scheduler with them.
        let _ = thread::Builder::new().name("runtime end".into()).spawn(wait);
    }

    /// Ends them, after the scheduler has stopped.
    pub(crate) fn join(&mut self, scheduler: &Scheduler) {
        current::COLLECTORS.leave(scheduler);
        self.desk.post(Errand::Stop);
        if let Some(dumper) = &self.dumper {
            dumper.end();
        }
        for thread in self.threads.drain(..) {
            // None unwinds but for a bug, which its message on standard error has told.
            let _ = thread.join();
        }
    }
}

/// When the monitor acts.
fn limits(settings: &Settings) -> Limits {
    let mut limits = Limits { trace: settings.schedtrace, ..Limits::DEFAULT };
    if let Preempt::After(slice) = settings.preempt {
        limits.slice = slice;
        limits.signal_gap = limits.signal_gap.min(slice);
    }
    limits
}
