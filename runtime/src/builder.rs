//! [`Builder`]: how a program says what its runtime shall be.

use std::time::Duration;

use gc_core::pacer::Pacer;
use gc_core::policy::{Collection, WriteBarrier};

use crate::build_error::BuildError;
use crate::config::{Preempt, Settings};
use crate::make::Make;
use crate::policy::{Chosen, Policy};
use crate::runtime::{self, Preemption, Runtime};

/// Settings of a [`Runtime`].
///
/// It begins with what the [environment](crate#environment) says; what is set here in code comes before that.
///
/// ```
/// use std::time::Duration;
///
/// let rt = runtime::Builder::new()
///     .procs(2)
///     .stack_bytes(128 * 1024)
///     .preempt_after(Duration::from_millis(5))
///     .build()
///     .unwrap();
/// assert_eq!(rt.run(|| 2 + 2), 4);
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) settings: Settings,
}

impl Builder {
    /// The settings of the environment, and defaults for what it does not say.
    ///
    /// ```
    /// assert!(runtime::Builder::new().build().is_ok());
    /// ```
    pub fn new() -> Self {
        Builder { settings: Settings::read() }
    }

    /// How many goroutines may run at the same time.
    ///
    /// Default: the cores this process may use, by affinity mask and by the quotas of its cgroup
    /// and all cgroups above. The number then follows both while the program runs, looked at once a
    /// second while it is busy; one that is said here or by `GOMAXPROCS` stays. There are always fewer than
    /// [`max_threads`](Self::max_threads), at most 65,536.
    ///
    /// Building fails with [`BuildError::Scheduler`] for a number that is said here and cannot be had; one of
    /// `GOMAXPROCS` is ignored then, and a line on standard error says so.
    ///
    /// ```
    /// let rt = runtime::Builder::new().procs(3).build().unwrap();
    /// assert_eq!(rt.procs(), 3);
    /// ```
    #[must_use]
    pub fn procs(mut self, procs: usize) -> Self {
        self.settings.procs = Some(procs);
        self
    }

    /// Address space for each goroutine's stack, in bytes; 256 KiB if not set. Memory is used page by
    /// page as it is touched.
    ///
    /// ```
    /// let rt = runtime::Builder::new().stack_bytes(1 << 20).build().unwrap();
    /// rt.run(|| std::hint::black_box([0_u8; 300_000]).len());
    /// ```
    #[must_use]
    pub fn stack_bytes(mut self, bytes: usize) -> Self {
        self.settings.stack_bytes = bytes;
        self
    }

    /// How long a goroutine must have waited until what deep calls have touched of its stack goes back to the system;
    /// a second if not set, `None`: not before it ends. It is looked for once a second while anything runs. A
    /// goroutine that then goes deep again pays its page faults anew.
    ///
    /// ```
    /// assert!(runtime::Builder::new().trim_stacks_after(None).build().is_ok());
    /// ```
    #[must_use]
    pub fn trim_stacks_after(mut self, wait: Option<Duration>) -> Self {
        self.settings.trim_stacks_after = wait;
        self
    }

    /// How many operating system threads may be made, for processors and for goroutines that block in the kernel;
    /// 10,000 if not set. It must exceed [`procs`](Self::procs), and be at most 1,048,576.
    ///
    /// At the limit goroutines wait until a thread is free. If all are blocked for three seconds while a goroutine
    /// waits for one, the process ends with a message and a list of all goroutines, as it would hang otherwise.
    ///
    /// ```
    /// assert!(runtime::Builder::new().max_threads(100).build().is_ok());
    /// ```
    #[must_use]
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.settings.max_threads = Some(threads);
        self
    }

    /// By how many per cent the collected heap may grow after a collection before the next one; 100
    /// if not set. `None`: it is collected only when asked to.
    ///
    /// ```
    /// assert!(runtime::Builder::new().gogc(Some(200)).build().is_ok());
    /// ```
    #[must_use]
    pub fn gogc(mut self, percent: Option<u32>) -> Self {
        self.settings.gogc = percent;
        self
    }

    /// How many bytes of memory the heap of the process may have at once; no limit if not set. Of several
    /// runtimes the one made last decides, also if it sets none, and what it decides stays when it has ended. While
    /// one is being made there is no limit; if that fails, the former one is back.
    ///
    /// Building fails with [`BuildError::MemoryLimit`] if the limit leaves less than 8 MiB beyond what the heap
    /// has then, the first stacks included: some 40 MiB are enough for a runtime of few processors.
    ///
    /// Stacks count with their address space (256 KiB each if not set otherwise, 64 of them at a time),
    /// since nobody can refuse a page of one that is touched.
    ///
    /// Collections begin before the limit is reached, and guards help with them there, unless that takes
    /// more than half of the CPU. At the limit free memory is given back first; then a spawn that needs
    /// another stack is an error, and allocations fail. With [`Alloc`](crate::Alloc) as the global allocator
    /// a failure ends the process, unless it is asked for, as by `Vec::try_reserve` and [`try_go`](crate::try_go).
    ///
    /// ```
    /// #[global_allocator]
    /// static ALLOCATOR: runtime::Alloc = runtime::Alloc::new();
    ///
    /// let rt = runtime::Builder::new().memory_limit(64 << 20).build().unwrap();
    /// rt.run(|| {
    ///     assert!(Vec::<u8>::new().try_reserve(100 << 20).is_err());
    ///     assert!(Vec::<u8>::new().try_reserve(10 << 20).is_ok());
    /// });
    /// ```
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.settings.memory_limit = Some(bytes);
        self
    }

    /// How long a goroutine may compute while others wait, before it is interrupted; 10 ms if not
    /// set.
    ///
    /// ```
    /// use std::time::Duration;
    /// let rt = runtime::Builder::new().procs(1).preempt_after(Duration::from_millis(1)).build().unwrap();
    /// let (tx, rx) = runtime::chan::bounded(1);
    /// rt.go(move || while rx.try_recv().is_err() {}); // would keep the only P for ever
    /// rt.go(move || tx.send(())).join().unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn preempt_after(mut self, slice: Duration) -> Self {
        self.settings.preempt = Preempt::After(slice);
        self
    }

    /// How a goroutine is interrupted that computes for too long; by
    /// [injection](Preemption::Inject) if not set.
    ///
    /// ```
    /// use runtime::Preemption;
    /// let rt = runtime::Builder::new().procs(1).preemption(Preemption::ParkThread).build().unwrap();
    /// let (tx, rx) = runtime::chan::bounded(1);
    /// rt.go(move || while rx.try_recv().is_err() {});
    /// rt.go(move || tx.send(())).join().unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn preemption(mut self, preemption: Preemption) -> Self {
        self.settings.preemption = preemption;
        self
    }

    /// Interrupts nobody: goroutines give way only where they call the runtime.
    ///
    /// ```
    /// assert!(runtime::Builder::new().no_preemption().build().is_ok());
    /// ```
    #[must_use]
    pub fn no_preemption(mut self) -> Self {
        self.settings.preempt = Preempt::Off;
        self
    }

    /// Whether the process ends, with a list of all goroutines, when all of them wait for each other and
    /// nobody else is left who could wake one; it does if not set.
    ///
    /// That is certain only if every thread of the process is known: the runtime's own, and those that
    /// wait for the runtime. With any other thread, of a library or of a second runtime, nothing is said. It is found
    /// out in the first 1.3 seconds, and again when a thread begins to wait for the runtime without a deadline, or ends
    /// after it has waited for the runtime. The end of any other thread is not heard of after that, as a runtime whose
    /// goroutines all wait does not wake.
    ///
    /// Who waits until a deadline will be woken, however far it is. A timeout
    /// [beyond the end of the clock](crate::time#beyond-the-end-of-the-clock), as `Duration::MAX` is, makes none:
    /// a goroutine in `sleep(Duration::MAX)` is one that waits for others.
    ///
    /// ```no_run
    /// let rt = runtime::Builder::new().build().unwrap();
    /// let (tx, rx) = runtime::chan::rendezvous::<()>();
    /// rt.run(|| rx.recv()); // nobody sends: "all goroutines are asleep: deadlock"
    /// # drop(tx);
    /// ```
    #[must_use]
    pub fn detect_deadlocks(mut self, on: bool) -> Self {
        self.settings.detect_deadlocks = on;
        self
    }

    /// Writes the list of all goroutines with their backtraces ([`Runtime::dump`]) to standard error whenever
    /// the process receives `signal`: one of `SIGQUIT` (Ctrl-\\ at a terminal), `SIGHUP`, `SIGINT`, `SIGUSR1`,
    /// `SIGUSR2`, `SIGTERM`. Not done if not set.
    ///
    /// The process goes on, unlike one of Go's after `SIGQUIT`; a second signal gives a second list. A
    /// handler that was there before is called as well. When all runtimes that asked for the signal have
    /// ended, it does what it did before. A thread of the runtime's does the writing, so the list comes also
    /// while every processor computes; it waits for no lock of std's, so it may lie between lines of others.
    ///
    /// Building fails with [`BuildError::Signal`] for any other signal.
    ///
    /// ```
    /// let rt = runtime::Builder::new().dump_on(libc::SIGQUIT).build().unwrap();
    /// // from now on: `kill -QUIT $pid` shows where goroutines are
    /// assert_eq!(rt.run(|| 7), 7);
    /// assert!(runtime::Builder::new().dump_on(libc::SIGKILL).build().is_err());
    /// ```
    #[must_use]
    pub fn dump_on(mut self, signal: i32) -> Self {
        self.settings.dump_on = Some(signal);
        self
    }

    /// Writes a line about the scheduler to standard error this often.
    ///
    /// ```
    /// # use std::time::Duration;
    /// assert!(runtime::Builder::new().schedtrace(Duration::from_secs(60)).build().is_ok());
    /// ```
    #[must_use]
    pub fn schedtrace(mut self, period: Duration) -> Self {
        self.settings.schedtrace = Some(period);
        self
    }

    /// Writes a line about each collection to standard error.
    ///
    /// ```
    /// assert!(runtime::Builder::new().gctrace(true).build().is_ok());
    /// ```
    #[must_use]
    pub fn gctrace(mut self, on: bool) -> Self {
        self.settings.gctrace = on;
        self
    }

    /// Gives each goroutine a kernel thread of its own, also where that is not needed. Slower, but
    /// debuggers, sanitizers and profilers then see goroutines as what they know.
    ///
    /// ```
    /// let rt = runtime::Builder::new().kernel_threads(true).build().unwrap();
    /// assert!(!rt.mode().is_own_tls());
    /// assert_eq!(rt.run(|| 1 + 1), 2);
    /// ```
    #[must_use]
    pub fn kernel_threads(mut self, on: bool) -> Self {
        self.settings.kernel_threads = on;
        self
    }

    /// Who runs while a collection marks: everybody, if not set. The collected heap is the process's: of
    /// several runtimes the one made last decides, here and below.
    ///
    /// ```
    /// use runtime::gc::{self, Collection};
    ///
    /// let rt = runtime::Builder::new().collection(Collection::StopTheWorld).build().unwrap();
    /// rt.run(|| gc::collect().unwrap());
    /// ```
    #[must_use]
    pub fn collection(mut self, collection: Collection) -> Self {
        self.settings.collecting.collection = collection;
        self
    }

    /// What stores to edges log while a collection marks.
    ///
    /// ```
    /// use runtime::gc::{self, WriteBarrier};
    ///
    /// let rt = runtime::Builder::new().write_barrier(WriteBarrier::Hybrid).build().unwrap();
    /// rt.run(|| gc::collect().unwrap());
    /// ```
    #[must_use]
    pub fn write_barrier(mut self, barrier: WriteBarrier) -> Self {
        self.settings.collecting.write_barrier = barrier;
        self
    }

    /// When collections begin, in place of [`gogc`](Self::gogc): the pacer that `make` makes. It should
    /// mind a [`memory_limit`](Self::memory_limit) by itself.
    ///
    /// ```
    /// use runtime::gc::pacer::Every;
    ///
    /// assert!(runtime::Builder::new().pacer(|| Every(64 << 20)).build().is_ok());
    /// ```
    #[must_use]
    pub fn pacer<P: Pacer + 'static>(
        mut self,
        make: impl Fn() -> P + Send + Sync + 'static,
    ) -> Self {
        self.settings.collecting.pacer = Some(Make::by(move || Box::new(make()) as _));
        self
    }

    /// In which order goroutines run; Go's if not set. See [`policy`](crate::policy).
    ///
    /// ```
    /// use runtime::Spawn;
    /// use runtime::policy::{Class, Priority};
    ///
    /// let rt = runtime::Runtime::builder().policy(Priority::new()).build().unwrap();
    /// let report = rt.go_with(Spawn::new().class(Class::Background), || "later").unwrap();
    /// let answer = rt.go_with(Spawn::new().class(Class::Urgent), || "at once").unwrap();
    /// assert_eq!(answer.join().unwrap(), "at once");
    /// assert_eq!(report.join().unwrap(), "later");
    /// ```
    #[must_use]
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.settings.policy = Chosen::new(policy);
        self
    }

    /// Makes the runtime: its threads and its first stacks.
    ///
    /// # Errors
    ///
    /// When a setting makes no sense, the operating system refuses something, there is no memory for the collected
    /// heap, or the global allocator is alloc-core but not through [`Alloc`](crate::Alloc).
    ///
    /// ```
    /// assert!(runtime::Builder::new().procs(0).build().is_err());
    /// ```
    pub fn build(self) -> Result<Runtime, BuildError> {
        runtime::start(&self.settings)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}
