//! The handle of a scheduler: birth, spawning, the end.
//!
//! A [`Scheduler`] is a handle; several may live in one process, and a goroutine of one may wait for
//! a goroutine of another. There is no default one and no global state: who is on a goroutine finds
//! its scheduler by [`current`].
//!
//! # The end
//!
//! [`shutdown`](Scheduler::shutdown) closes the gate (`gate.rs`) and waits until nobody is
//! inside. Only then it stops: wakes all Ms, which find nothing to do and end; joins all threads.
//! With goroutines left (computing, parked for ever, blocked in the kernel) at the deadline nothing
//! is taken from them: others may point into their stacks.
//!
//! Called by one of its own goroutines, a shutdown waits for all that are not themselves in one, and then
//! reports those as left, its caller among them: none of several callers waits for another. Callers
//! elsewhere wait for all, each until its own deadline. A goroutine of another scheduler is elsewhere, so two
//! that shut down *each other's* scheduler wait for each other, unless one has a deadline: each asked to go on
//! when the other has ended, as two threads that join each other, and to answer one of them early would
//! break the promise it asked for. Which of the two it should be is for the program to say, by that deadline.
//!
//! When the last handle is dropped without a shutdown the gate closes, and the threads end by
//! themselves after the last goroutine.

use core::{fmt, panic::Location, time::Duration};
use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use crate::{
    config::Config,
    dump::Goroutine,
    entry::enter,
    error::{Error, SpawnError},
    glue, goroutine, handoff,
    hooks::Hooks,
    monitor::Monitor,
    policy::Chosen,
    shared::Shared,
    spawn::{self, Spawn},
    stack::{Mmap, StackSource},
    stacks::StackCopy,
    stats::Stats,
    sync::Ordering,
    task::join::JoinHandle,
    tls::{self, Mode},
};

/// A handle of a scheduler. See the [module](self).
pub struct Scheduler {
    pub(crate) shared: Arc<Shared>,
}

/// How a shutdown ended.
///
/// Shown as text it says so, with a line for each goroutine that is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "goroutines may be left"]
pub struct Shutdown {
    /// Goroutines that had not ended, by number. None: all threads are joined, all memory is
    /// returned with the last handle.
    pub left: Vec<Goroutine>,
    /// Futures that had not ended. Those that were being polled are in the list as well.
    pub futures: usize,
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.left.len(), self.futures) {
            (0, 0) => return f.write_str("all goroutines have ended"),
            (0, _) => {}
            (1, _) => f.write_str("1 goroutine is left:")?,
            (many, _) => write!(f, "{many} goroutines are left:")?,
        }
        self.left.iter().try_for_each(|goroutine| write!(f, "\n  {goroutine}"))?;
        let line = if self.left.is_empty() { "" } else { "\n" };
        match self.futures {
            0 => Ok(()),
            1 => write!(f, "{line}1 future is left"),
            many => write!(f, "{line}{many} futures are left"),
        }
    }
}

/// The scheduler of the calling goroutine; `None` elsewhere.
pub fn current() -> Option<Scheduler> {
    let task = goroutine::current_task()?;
    Some(Scheduler::of(task.shared()))
}

impl Scheduler {
    /// Builds a scheduler and starts its threads. Its stacks come from [`Mmap`].
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a value out of range; else what the operating system refused.
    pub fn new(config: Config, hooks: Arc<dyn Hooks>) -> Result<Self, Error> {
        Self::with_stacks(config, hooks, Box::new(Mmap::new()))
    }

    /// As [`new`](Self::new), with stacks from a source of the caller's.
    ///
    /// The source is asked by a thread of the scheduler that is no goroutine, so it may wait for
    /// locks and for the kernel.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`Error::Stacks`] if the source refuses the first one.
    ///
    /// ```
    /// use sched_core::{Config, NoHooks, Scheduler, stack::Mmap};
    /// # use std::sync::Arc;
    /// // As on a kernel before 6.13.
    /// let stacks = Box::new(Mmap::with_mprotect(65_530));
    /// let scheduler = Scheduler::with_stacks(Config::default(), Arc::new(NoHooks), stacks)?;
    /// assert_eq!(scheduler.spawn(|| 7)?.join().unwrap(), 7);
    /// # scheduler.shutdown(None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_stacks(
        config: Config,
        hooks: Arc<dyn Hooks>,
        stacks: Box<dyn StackSource>,
    ) -> Result<Self, Error> {
        config.check()?;
        tls::barrier().probe();
        tls::see_to_forks();
        let mode = config.mode();
        glue::install(&config)?;
        let shared = Arc::new(Shared::new(config, mode, hooks, stacks.into()));
        let scheduler = Scheduler { shared };
        scheduler.shared.gate.hold();
        if let Err(error) = scheduler.shared.start() {
            let _ = scheduler.shutdown(None);
            return Err(error);
        }
        Ok(scheduler)
    }

    fn of(shared: &Shared) -> Self {
        shared.gate.hold();
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
        self.shared.wanted_procs()
    }

    /// Changes how many goroutines run at once, while they run; nobody is stopped for it.
    ///
    /// More take effect at once. Fewer take effect as goroutines give way: those on Ps that are too
    /// many are asked to at once, and wherever they are in user code if they can be preempted by
    /// signal; one that blocks in the kernel keeps its P until the monitor takes it. Does nothing once
    /// the scheduler has stopped.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if `procs` is 0, or more than [`most_procs`](Self::most_procs).
    ///
    /// ```
    /// use sched_core::{Config, NoHooks, Scheduler};
    /// # use std::sync::Arc;
    /// let scheduler = Scheduler::new(Config { procs: 1, ..Config::default() }, Arc::new(NoHooks))?;
    /// scheduler.set_procs(4)?;
    /// assert_eq!(scheduler.procs(), 4);
    /// assert!(scheduler.set_procs(0).is_err());
    /// # scheduler.shutdown(None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_procs(&self, procs: usize) -> Result<(), Error> {
        self.shared.set_procs(procs)
    }

    /// The most Ps that there can be: 1,024, or what the scheduler began with, if that was more; but fewer than
    /// [`max_threads`](Config::max_threads).
    ///
    /// ```
    /// use sched_core::{Config, NoHooks, Scheduler};
    /// # use std::sync::Arc;
    /// let config = Config { procs: 1, max_threads: 8, ..Config::default() };
    /// let scheduler = Scheduler::new(config, Arc::new(NoHooks))?;
    /// assert_eq!(scheduler.most_procs(), 7);
    /// assert!(scheduler.set_procs(7).is_ok() && scheduler.set_procs(8).is_err());
    /// # scheduler.shutdown(None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn most_procs(&self) -> usize {
        self.shared.most_procs()
    }

    /// Changes the order in which goroutines run, while they run; nobody is stopped for it.
    ///
    /// Whatever becomes ready from now on is queued by `policy`, and what is queued is moved, by each P as it
    /// next looks for a goroutine. That takes some milliseconds; a call during it waits. Does nothing
    /// once the scheduler has stopped.
    ///
    /// The old queues are dropped by a thread of the scheduler's, or by the next call of this. If a user's policy has a
    /// [`Drop`] that panics, the former aborts the process, and the latter panics, with the policy unchanged. See the
    /// [contract](crate::policy#contract).
    ///
    /// # Panics
    ///
    /// If making the new queues does, or dropping those of the change before.
    ///
    /// ```
    /// use sched_core::{Config, NoHooks, Scheduler, policy::{Chosen, GlobalFifo, Priority}};
    /// # use std::sync::Arc;
    /// let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
    /// let jobs: Vec<_> = (0..100).map(|n| scheduler.spawn(move || n)).collect::<Result<_, _>>()?;
    /// scheduler.set_policy(&Chosen::new(Priority::new()));
    /// scheduler.set_policy(&Chosen::new(GlobalFifo));
    /// assert_eq!(jobs.into_iter().map(|job| job.join().unwrap()).sum::<u32>(), 4_950);
    /// # scheduler.shutdown(None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_policy(&self, policy: &Chosen) {
        self.shared.set_policy(policy);
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
    /// [`SpawnError::ShutDown`] after a shutdown has begun. [`SpawnError::NoMemory`] if the global allocator refuses
    /// the record of the goroutine, or the box of its closure and result. [`SpawnError::Stacks`] if the last attempt to
    /// make stacks failed, and none is at hand or other goroutines wait for one. In each case `f` is dropped.
    ///
    /// # Waits for a stack
    ///
    /// The goroutine takes a stack when it first runs. If others that were let in before it have taken the last one
    /// by then, it waits until one is given back, or can be made after all.
    #[track_caller]
    pub fn spawn<T, F>(&self, f: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn::spawn_on(&self.shared, Spawn::new(), f, Location::caller())
    }

    /// As [`spawn`](Self::spawn), as `how` says.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn), and [`SpawnError::StackTooLarge`]. Of larger stacks none is made ahead of need: while
    /// they cannot be made the first goroutine that asks for one waits, and [`SpawnError::Stacks`] is for those behind it.
    ///
    /// ```
    /// use sched_core::{Config, NoHooks, Scheduler, Spawn, SpawnError};
    /// # use std::sync::Arc;
    /// let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
    /// fn depth(n: u32) -> u32 {
    ///     let frame = std::hint::black_box([n; 250]);
    ///     if n == 0 { frame[0] } else { 1 + depth(n - 1) }
    /// }
    /// // 2,000 frames of a kilobyte and more.
    /// let deep = scheduler.spawn_with(Spawn::new().stack_bytes(16 << 20), || depth(2_000))?;
    /// assert_eq!(deep.join().unwrap(), 2_000);
    /// let refused = scheduler.spawn_with(Spawn::new().stack_bytes(1 << 40), || ());
    /// assert!(matches!(refused, Err(SpawnError::StackTooLarge { .. })));
    /// # scheduler.shutdown(None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn_with<T, F>(&self, how: Spawn, f: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn::spawn_on(&self.shared, how, f, Location::caller())
    }

    /// Whether stacks, unused ones or those of goroutines that wait, may have memory which nobody needs: a few plain
    /// loads.
    pub fn stacks_rest(&self) -> bool {
        self.shared.stacks_rest()
    }

    /// Makes unused stacks one step older; the memory of those that nobody took for one or two
    /// steps goes back to their source, as does what goroutines do not need that have waited for
    /// [`Config::trim_after`]. How many stacks those were. Call it about once a second while
    /// [`stacks_rest`](Self::stacks_rest), from a plain thread: it is a system call per stack.
    ///
    /// ```
    /// # use sched_core::{Config, NoHooks, Scheduler};
    /// # use std::sync::Arc;
    /// let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
    /// scheduler.spawn(|| ())?.join().unwrap();
    /// while scheduler.stacks_rest() {
    ///     scheduler.age_stacks();
    /// }
    /// # scheduler.shutdown(None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn age_stacks(&self) -> usize {
        self.shared.supplies.grow_older() + self.shared.trim()
    }

    /// Starts a future: a task that has no stack while it waits. It lies in the same queues as the
    /// goroutines do and is polled by one; a poll may block. See [`future`](crate::future).
    ///
    /// # Errors
    ///
    /// [`SpawnError::ShutDown`] after a shutdown has begun, and [`SpawnError::NoMemory`] if the global allocator
    /// refuses; `future` is dropped. It waits if, later, there is no stack or no record for the goroutine that is to poll
    /// it.
    ///
    /// ```
    /// use sched_core::{Config, NoHooks, Scheduler};
    /// # use std::sync::Arc;
    /// let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
    /// let first = scheduler.spawn_future(async { 40 })?;
    /// let both = scheduler.spawn_future(async move { first.await.unwrap() + 2 })?;
    /// assert_eq!(both.join().unwrap(), 42);
    /// scheduler.shutdown(None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn_future<F>(&self, future: F) -> Result<JoinHandle<F::Output>, SpawnError>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn::spawn_future_on(&self.shared, future, Location::caller())
    }

    /// All goroutines that have not ended, by number, and futures that are being polled. Stops nobody: each is told
    /// as it was at some moment of the call. Takes time in proportion to the most there ever were at once.
    pub fn goroutines(&self) -> Vec<Goroutine> {
        self.shared.goroutines()
    }

    /// Starts a goroutine that serves those that live: it does not wait for a slice to end, and is let
    /// in during a shutdown, too, as long as any of them has not ended. The shutdown waits for it as for
    /// any other.
    ///
    /// # Errors
    ///
    /// [`SpawnError::ShutDown`] if a shutdown has begun and nobody is left; else as [`spawn`](Self::spawn), but
    /// [`SpawnError::Stacks`] only if others wait for a stack: it may wait for the first that comes back. `f` is dropped.
    #[track_caller]
    pub fn spawn_servant<T, F>(&self, f: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn::serve_on(&self.shared, f, Location::caller())
    }

    /// Goroutines that [hold](crate::holds_or) something go before all others from now on, because somebody
    /// waits for those among them whose word is below `below`. If one waits for a P, the oldest slice ends,
    /// but not that of one who is waited for: else they would all run by turns, and all end late. 0: nobody
    /// waits any more.
    pub fn hurry_holders(&self, below: u64) {
        // Relaxed: a hint; who misses it serves one more in turn.
        self.shared.hurry.store(below, Ordering::Relaxed);
        if below != 0 {
            let _entered = enter();
            handoff::make_room(&self.shared);
        }
    }

    /// As [`goroutines`](Self::goroutines), each with a copy of its stack if it has begun to run: for
    /// backtraces. Nobody is stopped; a goroutine that runs is interrupted for the time of the copying,
    /// and a raw system call of it may return `EINTR`. No copies of those that run if preemption is
    /// [cooperative](crate::Preemption::Cooperative).
    pub fn stacks(&self) -> Vec<StackCopy> {
        self.shared.stacks()
    }

    /// All goroutines, if all of them wait for ever: for each other, with no deadline, and with no
    /// thread left in the process that could wake one. Certain, and costs a look at every thread; ask when
    /// [`may_wait_for_ever`](Monitor::may_wait_for_ever) says so and all Ps are idle.
    ///
    /// Any thread that the scheduler does not know could wake somebody: the caller's, too, unless it was
    /// [adopted](Self::adopt_thread).
    pub fn deadlock(&self) -> Option<Vec<Goroutine>> {
        self.shared.deadlock()
    }

    /// Tells that the calling thread serves this scheduler, and wakes a goroutine only on behalf of
    /// another: see [`deadlock`](Self::deadlock).
    pub fn adopt_thread(&self) {
        self.shared.adopt_thread();
    }

    /// Futures that have not ended; while some end or begin, about so many.
    ///
    /// ```
    /// # use sched_core::{Config, NoHooks, Scheduler};
    /// # use std::sync::Arc;
    /// let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
    /// let future = scheduler.spawn_future(std::future::pending::<()>())?;
    /// assert_eq!(scheduler.futures(), 1);
    /// # future.abort();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn futures(&self) -> usize {
        self.shared.futures()
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
    /// waits again. Goroutines of this scheduler that call it do not wait for each other. See the
    /// [module](self).
    ///
    /// ```
    /// use sched_core::{Config, NoHooks, Scheduler, current};
    /// # use std::sync::Arc;
    /// let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
    /// let own = scheduler.spawn(|| current().map(|scheduler| scheduler.shutdown(None)))?;
    /// let id = own.id();
    /// let report = own.join().unwrap().expect("it is on a goroutine");
    /// assert_eq!(report.left.iter().map(|one| one.id).collect::<Vec<_>>(), [id], "the caller");
    /// assert_eq!(scheduler.shutdown(None).left, []);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, deadline: Option<Duration>) -> Shutdown {
        // One beyond the end of the clock is none.
        let limit = deadline.and_then(|wait| Instant::now().checked_add(wait));
        self.shared.gate.shut();
        self.shared.dismiss_carriers();
        while self.shared.wait_until_empty(limit) != 0 {
            let left = Shutdown { left: self.goroutines(), futures: self.shared.futures() };
            if left != Shutdown::default() {
                return left;
            }
            // One that has ended is about to be counted out.
            crate::yield_now();
        }
        self.shared.stop();
        let mut end = self.shared.end.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in end.threads.drain(..) {
            // A thread of ours does not unwind: it aborts.
            let _ = thread.join();
        }
        Shutdown::default()
    }
}

impl Clone for Scheduler {
    fn clone(&self) -> Self {
        Self::of(&self.shared)
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("mode", &format_args!("{}", self.mode()))
            .field("procs", &self.procs())
            .field("goroutines", &self.shared.gate.inside())
            .finish_non_exhaustive()
    }
}
