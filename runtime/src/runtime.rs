//! [`Runtime`]: a scheduler, its monitor and its collector as one value.

mod start;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use sched_core::Scheduler;

use crate::build_error::BuildError;
use crate::builder::Builder;
use crate::dump::Dump;
use crate::policy::{Chosen, Policy};
use crate::scope::{self, Scope};
use crate::shutdown::{self, Shutdown};
use crate::spawn::{GoError, JoinHandle, Spawn};
use crate::stats::Stats;
use crate::wire::Attendants;

pub(crate) use self::start::start;
pub use sched_core::park::WaitReason;
pub use sched_core::tls::Mode;
pub use sched_core::{Goroutine, OsThreadLock, Preemption, Status, lock_os_thread};

/// Processors, threads and stacks that run goroutines.
///
/// A process may have several, which share nothing but the memory; channels and locks work between
/// them. Most programs have one, made by [`#[runtime::main]`](crate::main).
///
/// # End
///
/// Dropping a runtime waits until all its goroutines and futures have ended, then ends its threads and gives
/// its memory back. If one never ends, so does the wait: [`shutdown`](Self::shutdown) waits for a limited time
/// and tells who is left, and a future can be [aborted](JoinHandle::abort).
///
/// Who would wait for itself does not: dropped on one of its own goroutines, or by the holder of a
/// [guard](crate::gc::enter) for which a collection waits, it only asks for that, and its end comes by itself
/// after the last of them.
///
/// ```
/// use runtime::{Runtime, gc};
/// let rt = Runtime::new().unwrap();
/// let guard = gc::enter();
/// rt.run(|| gc::heap().request());
/// drop(rt); // the collection that it began waits for the guard
/// drop(guard);
/// gc::collect().unwrap();
/// ```
///
/// ```
/// let rt = runtime::Runtime::new().unwrap();
/// let sum = rt.run(|| {
///     let parts: Vec<_> = (0..4).map(|i| runtime::go(move || i * 10)).collect();
///     parts.into_iter().map(|part| part.join().unwrap()).sum::<i32>()
/// });
/// assert_eq!(sum, 60);
/// ```
pub struct Runtime {
    scheduler: Scheduler,
    attendants: Attendants,
    /// Whether a shutdown has been waited for.
    ended: bool,
}

impl Runtime {
    /// A runtime with the settings of the environment.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    ///
    /// ```
    /// assert!(runtime::Runtime::new().is_ok());
    /// ```
    pub fn new() -> Result<Self, BuildError> {
        Builder::new().build()
    }

    /// Settings to change before it is made.
    ///
    /// ```
    /// let rt = runtime::Runtime::builder().procs(1).build().unwrap();
    /// assert_eq!(rt.procs(), 1);
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Runs `f` on a goroutine and waits for it.
    ///
    /// # Panics
    ///
    /// With the panic of `f`; or if [stacks](GoError::Stacks) or [memory](GoError::NoMemory) are refused.
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// let name = String::from("borrowed");
    /// assert_eq!(rt.run(|| name.len()), 8);
    /// ```
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        scope::run_on(self.scheduler.clone(), f)
    }

    /// Starts a goroutine, from wherever the caller is.
    ///
    /// # Panics
    ///
    /// If the runtime is shutting down, or [stacks](GoError::Stacks) or [memory](GoError::NoMemory) are refused; see
    /// [`try_go`](Self::try_go).
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// assert_eq!(rt.go(|| 7).join().unwrap(), 7);
    /// ```
    #[track_caller]
    pub fn go<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        match self.try_go(f) {
            Ok(handle) => handle,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`go`](Self::go), but tells when that is impossible.
    ///
    /// # Errors
    ///
    /// If the runtime is shutting down, or [stacks](GoError::Stacks) or [memory](GoError::NoMemory) are refused; `f` is
    /// dropped.
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// assert!(rt.try_go(|| 7).is_ok());
    /// ```
    #[track_caller]
    pub fn try_go<F, T>(&self, f: F) -> Result<JoinHandle<T>, GoError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Ok(self.scheduler.spawn(f)?)
    }

    /// As [`try_go`](Self::try_go), on a stack of another size; see [`go_with`](crate::go_with).
    ///
    /// # Errors
    ///
    /// As [`try_go`](Self::try_go), and [`GoError::StackTooLarge`].
    ///
    /// ```
    /// use runtime::Spawn;
    /// let rt = runtime::Runtime::new().unwrap();
    /// let parser = rt.go_with(Spawn::new().stack_bytes(8 << 20), || "(((())))".len());
    /// assert_eq!(parser.unwrap().join().unwrap(), 8);
    /// ```
    #[track_caller]
    pub fn go_with<F, T>(&self, how: Spawn, f: F) -> Result<JoinHandle<T>, GoError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Ok(self.scheduler.spawn_with(how, f)?)
    }

    /// Starts goroutines that may borrow from the caller, and waits for them; see
    /// [`scope`](crate::scope()).
    ///
    /// # Panics
    ///
    /// As [`scope`](crate::scope()).
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// let words = ["a", "bc"];
    /// let len: usize = rt.scope(|s| {
    ///     let parts = words.map(|word| s.go(move || word.len()));
    ///     parts.into_iter().map(|part| part.join().unwrap()).sum()
    /// });
    /// assert_eq!(len, 3);
    /// ```
    pub fn scope<'env, F, T>(&self, f: F) -> T
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
    {
        scope::scope_on(self.scheduler.clone(), f)
    }

    /// How goroutines are made on this machine: with a stack and a TLS block of their own, or, where
    /// the start-up probes failed, with a kernel thread each.
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// println!("{:?}", rt.mode());
    /// ```
    pub fn mode(&self) -> Mode {
        self.scheduler.mode()
    }

    /// How many goroutines may run at the same time.
    ///
    /// ```
    /// assert!(runtime::Runtime::new().unwrap().procs() >= 1);
    /// ```
    pub fn procs(&self) -> usize {
        self.scheduler.procs()
    }

    /// Changes how many goroutines may run at the same time, while they run. Nobody is stopped for it:
    /// more take effect at once, fewer as the goroutines that are too many give way, within about a
    /// millisecond. From then on the number no longer follows the machine's; see [`Builder::procs`].
    ///
    /// # Errors
    ///
    /// [`BuildError::Scheduler`] if `procs` is 0, not less than the [most threads](Builder::max_threads), or more
    /// than there is room for: 1,024, or as many as the runtime was built with, if those are more.
    ///
    /// ```
    /// let rt = runtime::Runtime::builder().procs(1).build().unwrap();
    /// rt.set_procs(3).unwrap();
    /// assert_eq!(rt.procs(), 3);
    /// assert!(rt.set_procs(0).is_err());
    /// ```
    pub fn set_procs(&self, procs: usize) -> Result<(), BuildError> {
        Ok(self.attendants.fix_procs(&self.scheduler, procs)?)
    }

    /// Changes the order in which goroutines run, while they run; nobody is stopped for it. What is queued
    /// is moved within some milliseconds; a call meanwhile waits.
    ///
    /// The old queues are dropped by a thread of the runtime's, or by the next call of this. If a policy of one's own
    /// has a [`Drop`] that panics, the former aborts the process; see [`Policy`].
    ///
    /// # Panics
    ///
    /// If making the new queues does, or dropping those of the change before.
    ///
    /// ```
    /// use runtime::policy::{Gmp, Priority};
    /// let rt = runtime::Runtime::new().unwrap();
    /// rt.set_policy(Priority::new());
    /// assert_eq!(rt.go(|| 7).join().unwrap(), 7);
    /// rt.set_policy(Gmp);
    /// ```
    pub fn set_policy(&self, policy: impl Policy) {
        self.scheduler.set_policy(&Chosen::new(policy));
    }

    /// What the runtime has done so far.
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// rt.run(|| ());
    /// assert!(rt.stats().goroutines_created >= 1);
    /// ```
    pub fn stats(&self) -> Stats {
        Stats::read(&self.scheduler, self.attendants.monitor())
    }

    /// All goroutines that have not ended, by number: what each does or waits for, for how
    /// long, and where it was started. Nobody is stopped for it, so each is told as it was at some
    /// moment of the call.
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// let (tx, rx) = runtime::chan::rendezvous::<()>();
    /// let reader = rt.go(move || rx.recv());
    /// for goroutine in rt.goroutines() {
    ///     // goroutine 1 [receive, 1.3s] started at src/main.rs:3:17
    ///     println!("{goroutine}");
    /// }
    /// # drop(tx);
    /// # assert!(reader.join().unwrap().is_err());
    /// ```
    pub fn goroutines(&self) -> Vec<Goroutine> {
        self.scheduler.goroutines()
    }

    /// All goroutines that have not ended, each with its backtrace: where it waits, or what it computes.
    /// Shown as text it is the list that Go writes. [`Builder::dump_on`] writes it when a signal comes.
    ///
    /// Nobody is stopped. A goroutine that runs is interrupted while its stack is copied, so a raw system
    /// call of it may return `EINTR`; one that has not run yet has no backtrace. Takes milliseconds at the
    /// first time, to read the program's names.
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// let (tx, rx) = runtime::chan::rendezvous::<()>();
    /// let reader = rt.go(move || rx.recv());
    /// println!("{}", rt.dump());
    /// # drop(tx);
    /// # assert!(reader.join().unwrap().is_err());
    /// ```
    pub fn dump(&self) -> Dump {
        Dump::take(&self.scheduler)
    }

    /// Ends the runtime: no goroutine can be started any more, and those that exist may run until
    /// `deadline` from now has passed; without a deadline, until they have ended.
    ///
    /// Returns those that are left. If nobody is, all threads have ended and all memory was given
    /// back; else both stay, the goroutines run on, and the end comes by itself after the last of them.
    ///
    /// # Who waits for whom
    ///
    /// A goroutine of the collector is left while it waits for a guard, whoever holds that:
    /// [`Shutdown::guards`] tells. If the caller holds one itself, and nobody but the collector's are left,
    /// it returns without regard to the deadline. For others' guards it waits, as for anything else that
    /// somebody may do yet; after a second a line on standard error names them.
    ///
    /// Goroutines of one runtime that shut it down do not wait for each other, but for all others. Two
    /// goroutines that shut down *each other's* runtime without a deadline do: each of them asked to go on
    /// when the other has ended, as two threads that join each other. A deadline ends it.
    ///
    /// ```
    /// use std::time::Duration;
    /// let rt = runtime::Runtime::new().unwrap();
    /// let (tx, rx) = runtime::chan::rendezvous::<()>();
    /// rt.go(move || rx.recv());
    /// let left = rt.shutdown(Some(Duration::from_millis(10)));
    /// assert_eq!(left.left.len(), 1);
    /// println!("{left}"); // what it waits for, for how long, and where it was started
    /// drop(tx);
    /// ```
    pub fn shutdown(mut self, deadline: Option<Duration>) -> Shutdown {
        self.end(deadline)
    }

    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    fn end(&mut self, deadline: Option<Duration>) -> Shutdown {
        self.ended = true;
        let shutdown = shutdown::wait(&self.scheduler, deadline);
        if shutdown.is_complete() {
            self.attendants.join(&self.scheduler);
        } else {
            self.attendants.end_later(self.scheduler.clone());
        }
        shutdown
    }
}

// Goroutines panic all the time, and their scheduler stays whole.
impl UnwindSafe for Runtime {}
impl RefUnwindSafe for Runtime {}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if sched_core::current().is_some_and(|here| here.same(&self.scheduler)) {
            // Waiting for oneself: leave it to a thread.
            self.attendants.end_later(self.scheduler.clone());
            return;
        }
        let _ = self.end(None);
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("scheduler", &self.scheduler).finish_non_exhaustive()
    }
}
