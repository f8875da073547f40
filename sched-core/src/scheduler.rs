//! A scheduler: what its Ms share, its birth and its end.
//!
//! A [`Scheduler`] is a handle; several may live in one process, and a goroutine of one may wait for
//! a goroutine of another. There is no default one and no global state: who is on a goroutine finds
//! its scheduler by [`current`].
//!
//! # Who keeps it alive
//!
//! The handles, its threads, the monitor, and every G record that somebody names
//! ([`registry`](crate::registry)) each hold a count of [`Shared`]. So the tables of Ps and Ms and
//! the stacks are there for whoever looks at them without a lock.
//!
//! # The gate
//!
//! One word counts the goroutines that live and says whether new ones are let in. A spawn adds one
//! and looks at what it added to: a closed gate makes it step back. So "closed, and nobody inside"
//! stays true once it is.
//!
//! # The end
//!
//! [`shutdown`](Scheduler::shutdown) closes the gate and waits until nobody is inside. Only then it
//! stops: wakes all Ms, which find nothing to do and end; joins all threads. With goroutines left
//! (computing, parked for ever, blocked in the kernel) at the deadline nothing is taken from
//! them: others may point into their stacks. Called by one of its own goroutines, a shutdown waits
//! for all others and then reports its caller as left.
//!
//! When the last handle is dropped without a shutdown the gate closes, and the threads end by
//! themselves after the last goroutine.

use core::{fmt, num::NonZero, time::Duration};
use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use crate::{
    bell::Bell,
    clock::Clock,
    entry::enter,
    error::{Error, SpawnError},
    glue,
    handoff::ESCAPE,
    hooks::Hooks,
    idle::{Host, Idle, Wake},
    lock::Lock,
    machine::{Machine, Order},
    monitor::Monitor,
    park::{self, WaitReason, Waiter},
    proc::{Held, Proc},
    queue::inject::{Inject, Lane, List},
    registry::Registry,
    service::Service,
    stack::{Slot, Slots, SlotsConfig},
    stats::{SharedCounters, Stats},
    sync::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence, now},
    task::{Run, join::JoinHandle, raw},
    timers::Timers,
    tls::{self, Mode, Surplus},
    worker,
};

/// How a scheduler is built. [`Config::default`] suits most programs.
///
/// ```
/// use sched_core::Config;
/// let config = Config { procs: 2, ..Config::default() };
/// assert!(config.max_threads > config.procs);
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// How many goroutines run at once. Default: what the process may use of the machine.
    pub procs: usize,
    /// Address space of a goroutine's stack in bytes, TLS and guard included; 256 KiB.
    pub stack_bytes: usize,
    /// Threads at most; 10,000. Needing more aborts the process, as it would hang otherwise.
    pub max_threads: usize,
    /// Sleeping threads kept in reserve for goroutines that block; 2.
    pub spare_threads: usize,
    /// How long a goroutine may run while others wait; 10 ms.
    pub slice: Duration,
    /// Whether goroutines are preempted by a signal (`SIGURG`); else only where they enter the
    /// runtime.
    pub signal_preemption: bool,
    /// Whether stacks keep room for libraries that are loaded later and have static TLS; see
    /// [`Surplus`]. The first scheduler of the process decides.
    pub surplus: Surplus,
    /// Gives each goroutine a kernel thread of its own even where own TLS would work.
    pub thread_mode: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            procs: thread::available_parallelism().map_or(1, NonZero::get),
            stack_bytes: 256 << 10,
            max_threads: 10_000,
            spare_threads: 2,
            slice: Duration::from_millis(10),
            signal_preemption: true,
            surplus: Surplus::Take,
            thread_mode: false,
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), Error> {
        let limit = 1 << 16;
        if self.procs == 0 || self.procs > limit {
            return Err(Error::Config("procs must be 1 to 65,536"));
        }
        if self.max_threads <= self.procs || self.max_threads > 1 << 20 {
            return Err(Error::Config("max_threads must exceed procs, up to 1,048,576"));
        }
        Ok(())
    }

    fn mode(&self) -> Mode {
        let mode = tls::probe(self.surplus);
        match mode {
            Mode::OwnTls(_) if self.thread_mode => {
                Mode::Threads { why: "the configuration says so" }
            }
            mode => mode,
        }
    }
}

/// A handle of a scheduler. See the [module](self).
pub struct Scheduler {
    shared: Arc<Shared>,
}

/// How a shutdown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "goroutines may be left"]
pub struct Shutdown {
    /// Goroutines that had not ended. 0: all threads are joined, all memory is returned with the
    /// last handle.
    pub left: usize,
}

/// The scheduler of the calling goroutine; `None` elsewhere.
pub fn current() -> Option<Scheduler> {
    let task = worker::current_task()?;
    Some(Scheduler::of(task.shared()))
}

impl Scheduler {
    /// Builds a scheduler and starts its threads.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a value out of range; else what the operating system refused.
    pub fn new(config: Config, hooks: Arc<dyn Hooks>) -> Result<Self, Error> {
        config.check()?;
        tls::barrier().probe();
        tls::forget_at_fork();
        let mode = config.mode();
        glue::install(&config)?;
        let shared = Arc::new(Shared::new(config, mode, hooks));
        let scheduler = Scheduler { shared };
        scheduler.shared.handles.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = scheduler.shared.start() {
            let _ = scheduler.shutdown(None);
            return Err(error);
        }
        Ok(scheduler)
    }

    fn of(shared: &Shared) -> Self {
        // Relaxed: counted while the caller's goroutine keeps the scheduler alive.
        shared.handles.fetch_add(1, Ordering::Relaxed);
        Self { shared: shared.arc() }
    }

    /// Whether both are handles of one scheduler.
    pub fn same(&self, other: &Scheduler) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// How goroutines run here.
    pub fn mode(&self) -> Mode {
        self.shared.mode
    }

    /// How many goroutines run at once.
    pub fn procs(&self) -> usize {
        self.shared.procs.len()
    }

    /// The configuration it was built with.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Starts a goroutine. From a goroutine of this scheduler it runs next on the same P, or on
    /// whichever is idle; from elsewhere it goes to the global queue.
    ///
    /// # Errors
    ///
    /// [`SpawnError::ShutDown`] after a shutdown has begun; `f` is dropped.
    pub fn spawn<T, F>(&self, f: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if !self.shared.one_more() {
            return Err(SpawnError::ShutDown);
        }
        let packet = raw::pack(f);
        let task = self.shared.launch(packet);
        // SAFETY: the packet was packed with this `T`, and this is its goroutine's one handle.
        Ok(unsafe { JoinHandle::new(task, packet) })
    }

    /// Counters so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// What a monitor needs to watch this scheduler.
    pub fn monitor(&self) -> Monitor {
        Monitor::new(Arc::clone(&self.shared))
    }

    /// Lets nobody in any more, waits until all goroutines have ended, and stops the threads.
    ///
    /// With a deadline, gives up waiting after that time and reports who is left; a later call
    /// waits again. See the [module](self).
    pub fn shutdown(&self, deadline: Option<Duration>) -> Shutdown {
        let limit = deadline.map(|wait| Instant::now() + wait);
        let mut end = self.shared.end.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.close();
        let left = self.shared.wait_until_empty(limit);
        if left == 0 {
            self.shared.stop();
            for thread in end.threads.drain(..) {
                // A thread of ours does not unwind: it aborts.
                let _ = thread.join();
            }
        }
        Shutdown { left }
    }
}

impl Clone for Scheduler {
    fn clone(&self) -> Self {
        Self::of(&self.shared)
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // AcqRel: the last handle sees what was done through all others.
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.abandon();
        }
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("mode", &format_args!("{}", self.mode()))
            .field("procs", &self.procs())
            .field("goroutines", &self.shared.living())
            .finish_non_exhaustive()
    }
}

/// The gate is closed: the top bit of its word.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// What the Ms of one scheduler share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    hooks: Arc<dyn Hooks>,
    pub(crate) clock: Clock,

    /// Never changes: Ps live as long as this.
    pub(crate) procs: Box<[Proc]>,
    /// Steps that visit all Ps from any start: the numbers coprime to `procs.len()`.
    strides: Box<[usize]>,
    machine_count: AtomicUsize,

    pub(crate) global: Inject<Run>,
    pub(crate) idle: Idle,
    /// The one take lock: see [`handoff`](crate::handoff).
    pub(crate) take: Lock<()>,
    pub(crate) bell: Bell,

    pub(crate) slots: Slots,
    /// Freed after the stacks: in thread mode a late signal finds its M through a stack's thread.
    machines: Machines,
    /// Goroutines that wait for a stack.
    starving: Lock<List<Run>>,
    starving_len: AtomicUsize,
    pub(crate) registry: Registry,
    pub(crate) service: Service,
    pub(crate) timers: Timers,

    gate: AtomicUsize,
    /// Whoever waits in [`Shared::wait_until_empty`].
    closer: Lock<Option<Waiter>>,
    stopping: AtomicBool,
    end: Mutex<End>,
    handles: AtomicUsize,
    pub(crate) counters: SharedCounters,
}

/// What only the end needs: the threads that are not Ms.
#[derive(Debug, Default)]
struct End {
    threads: Vec<thread::JoinHandle<()>>,
}

impl Shared {
    fn new(config: Config, mode: Mode, hooks: Arc<dyn Hooks>) -> Self {
        let procs = config.procs;
        let slots = SlotsConfig { stack_bytes: config.stack_bytes, ..SlotsConfig::default() };
        Self {
            mode,
            clock: Clock::new(),
            procs: (0..procs).map(|i| Proc::new(i, hooks.proc_start(i))).collect(),
            strides: (1..=procs).filter(|&step| gcd(step, procs) == 1).collect(),
            machines: Machines((0..config.max_threads).map(|_| AtomicPtr::default()).collect()),
            machine_count: AtomicUsize::new(0),
            global: Inject::new(),
            idle: Idle::new(procs, config.max_threads),
            take: Lock::new(()),
            bell: Bell::new(),
            slots: Slots::new(slots, mode),
            starving: Lock::new(List::new()),
            starving_len: AtomicUsize::new(0),
            registry: Registry::new(),
            service: Service::new(procs),
            timers: Timers::new(),
            gate: AtomicUsize::new(0),
            closer: Lock::new(None),
            stopping: AtomicBool::new(false),
            end: Mutex::new(End::default()),
            handles: AtomicUsize::new(0),
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

    fn start(&self) -> Result<(), Error> {
        for proc in 0..self.procs.len() {
            // Nobody has submitted anything yet, so nobody needs the P to look around.
            let _idle = self.idle.release(proc, None, || false);
        }
        self.slots.prepare(1).map_err(Error::Stacks)?;
        let threads = [Service::start(self)?, Timers::start(self)?];
        self.end.lock().unwrap_or_else(PoisonError::into_inner).threads.extend(threads);
        Ok(())
    }

    // ------------------------------------------------------------------------------ machines

    /// A number for a new M; `None` at the cap.
    pub(crate) fn new_machine_id(&self) -> Option<usize> {
        // Relaxed: the service thread alone makes Ms.
        let id = self.machine_count.load(Ordering::Relaxed);
        (id < self.machines.0.len()).then(|| {
            self.machine_count.store(id + 1, Ordering::Relaxed);
            id
        })
    }

    /// The number last given out was not used.
    pub(crate) fn forget_machine_id(&self) {
        // Relaxed: as above.
        self.machine_count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Enters an M into the table.
    pub(crate) fn register(&self, machine: Box<Machine>) -> &Machine {
        let id = machine.id();
        let machine = Box::into_raw(machine);
        // Release: the M's fields; pairs with the Acquire in `machine`.
        self.machines.0[id].store(machine, Ordering::Release);
        // SeqCst: the M is in the table before it looks whether the scheduler stops; partner: the
        // fence in `stop`. Either it sees that, or it is found there and woken.
        fence(Ordering::SeqCst);
        // SAFETY: entries are freed with the table only.
        unsafe { &*machine }
    }

    /// The M with this number, if it has started.
    pub(crate) fn machine(&self, id: usize) -> Option<&Machine> {
        // Acquire: pairs with the Release in `register`.
        // SAFETY: entries are freed with the table only.
        self.machines.0.get(id).and_then(|m| unsafe { m.load(Ordering::Acquire).as_ref() })
    }

    /// All Ms that have started.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &Machine> {
        // Relaxed: an M that is missed is one that has just begun.
        let count = self.machine_count.load(Ordering::Relaxed);
        (0..count).filter_map(|id| self.machine(id))
    }

    /// Work was published: sees to it that somebody looks for it.
    #[inline]
    pub(crate) fn notify(&self) {
        if let Some(wake) = self.idle.notify() {
            self.carry_out(wake);
        }
    }

    /// Has an M hold a P.
    #[cold]
    pub(crate) fn carry_out(&self, wake: Wake) {
        let order = Order { proc: wake.proc, spinning: Some(wake.spinning) };
        self.host(wake.host, order);
    }

    /// Has `host` carry out `order`.
    pub(crate) fn host(&self, host: Host, order: Order) {
        self.bell.ring();
        match host {
            Host::Sleeper(id) => match self.machine(id) {
                Some(machine) => machine.wake(order),
                None => crate::error::fatal(format_args!("thread {id} rests before it exists")),
            },
            Host::New => {
                self.service.order(order);
                return self.timers.look_again(now() + ESCAPE);
            }
        }
        if self.idle.census().sleeping < self.config.spare_threads {
            self.service.rouse();
        }
    }

    /// Takes an idle P for `m`, if there is one.
    pub(crate) fn acquire_idle(&self, m: &Machine) -> bool {
        let Some(proc) = self.idle.take_proc() else { return false };
        self.bell.ring();
        self.give_proc(m, proc);
        true
    }

    /// `m`, the caller's own, holds P `proc` from now on.
    pub(crate) fn give_proc(&self, m: &Machine, proc: usize) {
        m.hold(&self.procs[proc]);
        if let Some(held) = m.held() {
            held.begin_slice();
        }
    }

    /// All Ps but `but`, each once, from a random one on.
    pub(crate) fn others(&self, held: Held<'_>) -> impl Iterator<Item = &Proc> {
        let n = self.procs.len();
        let random = held.random() as usize;
        let stride = self.strides[random % self.strides.len()];
        let but = held.proc().index();
        (0..n)
            .map(move |i| (random / 7 + i * stride) % n)
            .filter(move |&index| index != but)
            .map(|index| &self.procs[index])
    }

    /// Whether there is anything to run in any queue.
    pub(crate) fn any_work(&self) -> bool {
        !self.global.is_empty() || self.procs.iter().any(|proc| !proc.queue.is_empty())
    }

    /// Calls the embedding's hook: the P goes idle.
    pub(crate) fn proc_idle(&self, proc: &Proc) {
        self.hooks.proc_idle(proc.index(), proc.local());
    }

    // ------------------------------------------------------------------------------ stacks

    /// Sees to it that `run` has a stack. `None`: it waits for one.
    pub(crate) fn give_stack(&self, run: Run) -> Option<Run> {
        // SAFETY: the run reference has the G.
        let place = unsafe { run.task().slot() };
        if place.is_some() {
            return Some(run);
        }
        match self.slots.take() {
            Some(mut slot) => {
                // SAFETY: just taken from the stock, for this goroutine.
                unsafe { worker::arm(&mut slot, run.task()) };
                *place = Some(slot);
                Some(run)
            }
            None => {
                self.starve(run);
                None
            }
        }
    }

    #[cold]
    fn starve(&self, run: Run) {
        let mut starving = self.starving.lock();
        starving.push(run);
        // Relaxed: written under the lock; a hint elsewhere.
        self.starving_len.store(starving.len(), Ordering::Relaxed);
        drop(starving);
        self.service.rouse();
    }

    /// How many goroutines wait for a stack.
    pub(crate) fn starving(&self) -> usize {
        // Relaxed: a hint; the service thread looks again after each request.
        self.starving_len.load(Ordering::Relaxed)
    }

    /// Queues up to `count` of the goroutines that wait for a stack.
    pub(crate) fn feed(&self, count: usize) {
        let fed: List<Run> = {
            let mut starving = self.starving.lock();
            let fed = core::iter::from_fn(|| starving.pop()).take(count).collect();
            // Relaxed: as in `starve`.
            self.starving_len.store(starving.len(), Ordering::Relaxed);
            fed
        };
        if !fed.is_empty() {
            self.global.append(fed, Lane::Plain);
            self.notify();
        }
    }

    /// Takes the stack of a goroutine that has ended.
    pub(crate) fn take_back(&self, slot: Slot) {
        self.slots.give(slot);
        if !self.mode.is_own_tls() {
            self.service.rouse();
        } else if self.starving() != 0 {
            self.feed(1);
        }
    }

    // ------------------------------------------------------------------------------ goroutines

    /// Makes the record of a goroutine and queues it.
    fn launch(&self, packet: core::ptr::NonNull<raw::Header>) -> crate::task::TaskRef {
        loop {
            let entered = enter();
            let held = entered.machine().filter(|m| m.serves(self)).and_then(|m| m.held());
            let record = match held {
                Some(held) => held.cache(|cache| cache.pop(self)),
                None => self.registry.pop(self),
            };
            let Some(record) = record else {
                drop(entered);
                self.registry.grow(self);
                continue;
            };
            // SAFETY: the record is free and ours; the packet is this goroutine's alone.
            let (run, task) = unsafe { Run::start(record, self.registry.fresh_id(), packet) };
            match held {
                Some(held) => held.queue().push_next(run, &self.global),
                None => self.global.push(run, Lane::Plain),
            }
            self.notify();
            return task;
        }
    }

    /// Lets a goroutine in; false if the gate is closed.
    fn one_more(&self) -> bool {
        // AcqRel: what was done before the spawn comes before the end of the scheduler.
        let open = self.gate.fetch_add(1, Ordering::AcqRel) & CLOSED == 0;
        if !open {
            self.one_less();
        }
        open
    }

    /// A goroutine has ended.
    pub(crate) fn one_less(&self) {
        // AcqRel: all that goroutines did comes before the end of the scheduler.
        let before = self.gate.fetch_sub(1, Ordering::AcqRel);
        if before & CLOSED != 0 {
            self.tell_closer(before & !CLOSED == 1);
        }
    }

    /// The gate is closed and a goroutine has ended; `last`: it was the last.
    #[cold]
    fn tell_closer(&self, last: bool) {
        let closer = self.closer.lock().clone();
        if let Some(closer) = closer {
            closer.unpark();
        }
        // Relaxed: the gate's read-modify-writes order the drop of the last handle.
        if last && self.handles.load(Ordering::Relaxed) == 0 {
            self.stop();
        }
    }

    /// Goroutines that have been let in and have not ended.
    pub(crate) fn living(&self) -> usize {
        // Acquire: pairs with the release in `one_less`.
        self.gate.load(Ordering::Acquire) & !CLOSED
    }

    // ------------------------------------------------------------------------------ the end

    fn close(&self) {
        // AcqRel: the former state of the gate is seen with what led to it.
        self.gate.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Whether Ms shall end.
    pub(crate) fn stopping(&self) -> bool {
        // Acquire: pairs with the Release in `stop`.
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits until nobody is inside the gate, the caller apart; gives how many are left.
    fn wait_until_empty(&self, limit: Option<Instant>) -> usize {
        let own = worker::current_task().is_some_and(|task| core::ptr::eq(task.shared(), self));
        let rest = usize::from(own);
        {
            let _entered = enter();
            *self.closer.lock() = Some(park::current());
        }
        // Whoever ends a goroutine leaves the gate and then takes the closer's lock: either it finds
        // the closer there, or its section came before ours, and the look below sees that it left.
        while self.living() > rest {
            match limit {
                None => park::park(WaitReason::Group),
                Some(at) if Instant::now() >= at => break,
                Some(at) => drop(park::park_until(WaitReason::Group, at)),
            }
        }
        let _entered = enter();
        *self.closer.lock() = None;
        self.living()
    }

    /// Nobody is left: all threads end.
    fn stop(&self) {
        // Release: pairs with the Acquire in `stopping`.
        self.stopping.store(true, Ordering::Release);
        // SeqCst: partner of the fence in `register`.
        fence(Ordering::SeqCst);
        for machine in self.machines() {
            machine.rouse();
        }
        self.service.rouse();
        self.timers.stop();
        self.bell.ring();
    }

    /// The last handle is gone.
    fn abandon(&self) {
        // Read-modify-writes of one word: either the last goroutine left before this and the look
        // sees it, or it leaves after and sees that there is no handle.
        self.close();
        if self.living() == 0 {
            self.stop();
        }
    }

    /// The last M has left its role: gives back what the Ps had, outside the runtime.
    pub(crate) fn retire_procs(&self) {
        for proc in &self.procs {
            // SAFETY: no M runs any more, so nobody else holds a P.
            let held = unsafe { Held::new(proc) };
            held.cache(|cache| cache.give_back(self, 0));
            self.hooks.proc_stop(proc.index(), proc.local());
        }
    }

    /// Counters so far.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            handoffs: self.counters.handoffs.get(),
            thread_errors: self.counters.thread_errors.get(),
            stack_errors: self.counters.stack_errors.get(),
            ..Stats::default()
        };
        for machine in self.machines() {
            stats.add(&machine.counters);
        }
        stats.created = stats.finished + self.living() as u64;
        stats
    }
}

/// Places for Ms, filled from the front; an entry that is not null stays.
struct Machines(Box<[AtomicPtr<Machine>]>);

impl Drop for Machines {
    fn drop(&mut self) {
        for machine in &mut self.0 {
            let machine = *machine.get_mut();
            if !machine.is_null() {
                // SAFETY: `register` leaked it from a box; the threads have ended, as each holds a
                // count of the scheduler, and so have those of all stacks.
                drop(unsafe { Box::from_raw(machine) });
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("idle", &self.idle).finish_non_exhaustive()
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
