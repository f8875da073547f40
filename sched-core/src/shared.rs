//! What the Ms of one scheduler share: one struct, and the rooms that work on it.
//!
//! | room | its part of [`Shared`] |
//! |---|---|
//! | `crew` | Ps and Ms: tables, waking, handing over |
//! | `ready`, `swap` | goroutines that are ready: where they go, what runs next; another policy |
//! | `resize` | how many Ps there shall be |
//! | `supply` | stacks for goroutines that have none yet |
//! | `gate` | how many goroutines live, who may come in, the end |
//! | `registry` | G records |
//! | `dump`, `stacks`, `asleep` | who is there, and where; memory of those who wait; whether anybody can wake anybody |
//! | `service`, `timers` | the two threads that are no Ms |
//!
//! # Who keeps it alive
//!
//! The handles, its threads, the monitor, and every G record that somebody names
//! ([`registry`](crate::registry)) each hold a count of [`Shared`]. So the tables of Ps and Ms and
//! the stacks are there for whoever looks at them without a lock.
//!
//! The order of the fields is the order in which they are dropped: stacks before Ms, as a stack's
//! thread may still receive a signal that looks for its M.

use core::{fmt, panic::Location};
use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crate::{
    clock::Clock,
    config::Config,
    crew::Machines,
    entry::enter,
    error::Error,
    hooks::Hooks,
    idle::Idle,
    lock::Lock,
    park::Waiter,
    policy::board::Installed,
    proc::{Held, Proc},
    registry::Registry,
    resize,
    service::Service,
    stack::{SlotsConfig, StackSource},
    stats::{SharedCounters, Stats},
    succession::Succession,
    supply::Supplies,
    switch::running,
    sync::{AtomicBool, AtomicU64, AtomicUsize},
    table::Table,
    task::{about::Birth, runnable::Runnable},
    timers::Timers,
    tls::{self, Mode},
    turnstile::Turnstile,
};

/// What the Ms of one scheduler share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) clock: Clock,

    pub(crate) procs: Table<Proc>,
    /// How many Ps there shall be. Changed under `sizing`; see [`resize`](crate::resize).
    pub(crate) wanted: AtomicUsize,
    pub(crate) sizing: Mutex<()>,
    pub(crate) machine_count: AtomicUsize,

    /// The queues of goroutines that are ready: see `ready`.
    pub(crate) queues: Succession<Installed<Runnable>>,
    /// Somebody waits for goroutines whose word of what they hold is below this; 0: nobody waits.
    pub(crate) hurry: AtomicU64,
    pub(crate) idle: Idle,
    /// The one take lock: see [`occupancy`](crate::occupancy).
    pub(crate) take: Lock<()>,

    pub(crate) supplies: Supplies,
    /// Switches before the last walk that left no goroutine to be trimmed later; see [`stacks`](crate::stacks).
    pub(crate) settled: AtomicU64,
    /// Freed after the stacks: in thread mode a late signal finds its M through a stack's thread.
    pub(crate) machines: Machines,
    pub(crate) registry: Registry,
    pub(crate) service: Service,
    pub(crate) timers: Timers,

    pub(crate) gate: Turnstile<Waiter>,
    pub(crate) stopping: AtomicBool,
    pub(crate) end: Mutex<End>,
    /// One at a time asks Ms for stacks; see [`stacks`](crate::stacks).
    pub(crate) probing: Mutex<()>,
    /// Threads that wake nobody of their own accord; see [`lull`](crate::lull).
    pub(crate) adopted: Mutex<Vec<i32>>,
    pub(crate) counters: SharedCounters,
}

/// What only the end needs: the threads that are not Ms.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) threads: Vec<thread::JoinHandle<()>>,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        mode: Mode,
        hooks: Arc<dyn Hooks>,
        stacks: Arc<dyn StackSource>,
    ) -> Self {
        let room = config.procs.max(resize::ROOM);
        let slots = SlotsConfig { stack_bytes: config.stack_bytes, ..SlotsConfig::default() };
        Self {
            mode,
            clock: Clock::new(),
            procs: Table::new(room),
            wanted: AtomicUsize::new(config.procs),
            sizing: Mutex::new(()),
            machines: Machines::new(config.max_threads),
            machine_count: AtomicUsize::new(0),
            queues: Succession::new(config.policy.install(room)),
            hurry: AtomicU64::new(0),
            idle: Idle::new(room, config.max_threads),
            take: Lock::new(()),
            supplies: Supplies::new(slots, mode, stacks),
            settled: AtomicU64::new(0),
            registry: Registry::new(),
            service: Service::new(),
            timers: Timers::new(),
            gate: Turnstile::new(),
            stopping: AtomicBool::new(false),
            end: Mutex::new(End::default()),
            probing: Mutex::new(()),
            adopted: Mutex::new(Vec::new()),
            counters: SharedCounters::default(),
            config,
            hooks,
        }
    }

    /// A count of this scheduler.
    pub(crate) fn arc(&self) -> Arc<Shared> {
        let this: *const Shared = self;
        // SAFETY: a `Shared` lives in an Arc, made by `Scheduler::new` alone, and is alive while it
        // is borrowed.
        unsafe {
            Arc::increment_strong_count(this);
            Arc::from_raw(this)
        }
    }

    /// The Ps come last: from the first on there is a service thread that stops them, whatever becomes of the others.
    pub(crate) fn start(&self) -> Result<(), Error> {
        self.supplies.begin().map_err(Error::Stacks)?;
        for start in [Service::start, Timers::start] {
            let thread = start(self)?;
            // At once: a shutdown joins it, also if the next one is refused.
            self.end.lock().unwrap_or_else(PoisonError::into_inner).threads.push(thread);
        }
        let _sizing = self.sizing.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..self.config.procs {
            // Nobody has submitted anything yet, so nobody needs the P to look around.
            let _idle = self.idle.release(self.make_proc(), None, || false);
        }
        Ok(())
    }

    /// The last M has left its role: gives back what the Ps had, outside the runtime.
    pub(crate) fn retire_procs(&self) {
        // Whoever makes Ps has made them, or will see that the scheduler stops.
        let _sizing = self.sizing.lock().unwrap_or_else(PoisonError::into_inner);
        for proc in self.procs.iter() {
            // SAFETY: no M runs any more, so nobody else holds a P.
            let held = unsafe { Held::new(proc) };
            held.cache(|cache| cache.give_back(self, 0));
            self.clear_shelf(held);
            self.hooks.proc_stop(proc.index(), proc.local());
        }
    }

    /// A number and an origin for a new future, which is counted.
    pub(crate) fn future_birth(&self, origin: &'static Location<'static>) -> Birth {
        let entered = enter();
        let own = entered.machine().filter(|m| m.serves(self));
        match own {
            Some(m) => m.counters.futures_made.bump(),
            None => self.counters.futures_made.bump_shared(),
        }
        let id = match own.and_then(|m| m.held()) {
            Some(held) => held.cache(|cache| cache.fresh_id(&self.registry)),
            None => self.registry.fresh_ids(1),
        };
        let creator = running(tls::words()).map_or(0, |task| task.about.id());
        Birth { id, creator, origin }
    }

    /// Futures that have not ended; while some end or begin, about so many.
    pub(crate) fn futures(&self) -> usize {
        let (mut made, mut ended) = (self.counters.futures_made.get(), 0);
        for machine in self.machines() {
            ended += machine.counters.futures.get();
            made += machine.counters.futures_made.get();
        }
        made.saturating_sub(ended) as usize
    }

    /// Counters so far.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            handoffs: self.counters.handoffs.get(),
            escapes: self.counters.escapes.get(),
            thread_errors: self.counters.thread_errors.get(),
            stack_errors: self.counters.stack_errors.get(),
            ..Stats::default()
        };
        let mut relays = 0;
        for machine in self.machines() {
            stats.add(&machine.counters);
            relays += machine.counters.relays.get();
        }
        stats.created = stats.finished + stats.futures + relays + self.gate.inside() as u64;
        stats
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("idle", &self.idle).finish_non_exhaustive()
    }
}
