//! A monitor that watches the workers of a scheduler from outside, and steps in when one is stuck.
//!
//! A scheduler that multiplexes tasks over a few *processors* has two blind spots. A task may
//! block in the kernel without telling anyone: its worker sleeps, the processor it holds sleeps
//! with it, and tasks that are ready wait. Or a task may compute for ever: nothing it calls ever
//! gives the processor back. Neither can be seen from inside. So one thread without a processor,
//! the monitor, looks at all workers now and then and judges from two facts that cannot lie:
//! whether the worker switched tasks since the last look, and whether the processor time of its
//! thread moved.
//!
//! | the worker's task | its thread's clock | verdict | duty |
//! |---|---|---|---|
//! | changed | – | healthy | – |
//! | the same | stands still, and the kernel says *asleep* | blocked: take its processor | [`duty::Retake`] |
//! | the same for 10 ms | runs | hogging: ask it to yield, then signal it | [`duty::Preempt`] |
//!
//! Smaller duties ride along: force a collection when none happened for two minutes
//! ([`duty::Collect`]), name whoever holds a collector's guard for more than a second
//! ([`duty::GuardWatch`]), have free memory given back ([`duty::Scavenge`]), follow the number of cores
//! ([`duty::Resize`]), notice that all tasks wait for each other ([`duty::Asleep`]), and ask for a trace
//! line once per period ([`duty::Trace`]); and
//! [`Backoff`] decides when to look next, from 20 µs after a take to *never* when all is idle.
//!
//! # Words
//!
//! * **worker**: a thread that runs tasks, Go's M. **Processor**: the right to run tasks, Go's P.
//! * **tick**: a number of the worker that changes whenever it switches to another task.
//! * **slice**: the time since a processor was given to the task, or to the chain of tasks that
//!   handed it on; Go's `schedtick` counts these.
//! * **waiting**: a task is ready and no processor runs it.
//! * **take**: the monitor takes a worker's processor and gives it to another worker.
//!
//! # Shape
//!
//! The crate knows no scheduler. What a duty asks of one is the trait [`Machine`]; what it asks of
//! time is the trait [`Clock`]. A duty is plain arithmetic over a [`Snapshot`] and the time of the
//! look: it holds no lock, spawns nothing, sleeps never. [`Monitor`] runs all of them once per
//! [`Monitor::look`], or for ever on a thread of its own with [`Monitor::run`]. Tests drive it
//! with a scripted machine and a [`ManualClock`], so that no test waits for time to pass. What it did
//! is in its [`Counters`].
//!
//! For machines made of Linux threads, [`ThreadProbe`] reads processor time and kernel state of a
//! thread by its id, and [`Alarm`] is the place where the monitor sleeps and others wake it.
//! `examples/thread_pool.rs` watches a plain thread pool with them.
//!
//! # Example
//!
//! Two looks see the same task on a worker that sleeps in the kernel, while another task waits: the monitor
//! takes the worker's processor.
//!
//! ```
//! use std::time::Duration;
//! use sysmon::{
//!     KernelState, Limits, Machine, ManualClock, Monitor, Pause, Snapshot, Wake, Worker, WorkerId,
//! };
//!
//! #[derive(Default)]
//! struct Pool {
//!     taken: Option<WorkerId>,
//! }
//!
//! impl Machine for Pool {
//!     fn most_workers(&self) -> usize {
//!         1
//!     }
//!     fn snapshot(&mut self, into: &mut Snapshot) {
//!         let holds = self.taken.is_none();
//!         let (id, slice_age) = (WorkerId(7), Duration::ZERO);
//!         into.workers.push(Worker { id, holds, running: true, tick: 1, slice_age });
//!         into.waiting = usize::from(holds);
//!     }
//!     fn cpu_time(&mut self, _: WorkerId) -> Option<Duration> {
//!         Some(Duration::from_millis(3)) // stands still
//!     }
//!     fn kernel_state(&mut self, _: WorkerId) -> KernelState {
//!         KernelState::Sleeping
//!     }
//!     fn take(&mut self, worker: &Worker) -> bool {
//!         self.taken = Some(worker.id);
//!         true
//!     }
//!     fn request_preempt(&mut self, _: WorkerId) {}
//!     fn signal(&mut self, _: WorkerId) {}
//!     fn wait(&mut self, _: Pause) -> Wake {
//!         Wake::Stop
//!     }
//! }
//!
//! let clock = ManualClock::new();
//! let mut monitor = Monitor::new(Pool::default(), clock.clone(), Limits::DEFAULT);
//! let Pause::For(pause) = monitor.look() else { panic!("a task waits") };
//! assert_eq!(monitor.machine().taken, None, "one look tells nothing");
//! clock.advance(pause);
//! monitor.look();
//! assert_eq!(monitor.machine().taken, Some(WorkerId(7)));
//! ```
//!
//! # What a look may not do
//!
//! The thread that the monitor is to free may hold any lock of the program, the allocator's too. So a
//! look takes no lock, allocates nothing and frees nothing: see [`Table`]. A [`Machine`] is bound by
//! the same rule.
//!
//! # Source, and where it differs
//!
//! The duties are those of `sysmon` and `retake` in Go's `src/runtime/proc.go`. Go's retake asks
//! whether a P is *in a system call*, which Go knows because its compiler wraps each call. Here
//! nothing is announced, so the thread's processor clock and its state in `/proc` take the place
//! of the announcement. Go's monitor wakes every minute even when nothing runs; this one does not
//! wake at all (see Go's issues 18236 and 25471).
//!
//! # Rejected
//!
//! * *Signal a suspicious thread and see whether the handler runs soon*: the handler runs in a
//!   blocked thread as well, moves its clock, and interrupts system calls that cannot be restarted.
//! * *Read `/proc` for each worker at each look*: 4.7 µs against 0.43 µs for the clock.
//! * *A trait for duties with a list of boxed ones*: they ask different questions and answer with
//!   different things; eight fields of one struct say more than `Vec<Box<dyn Duty>>`.

mod alarm;
mod backoff;
mod clock;
mod counters;
pub mod duty;
mod limits;
mod machine;
mod monitor;
mod probe;
mod sight;
mod sync;
mod table;

pub use alarm::Alarm;
pub use backoff::Backoff;
pub use clock::{Clock, ManualClock, SystemClock};
pub use counters::{Counters, Stats};
pub use limits::Limits;
pub use machine::{HeldGuard, KernelState, Machine, Pause, Snapshot, Wake, Worker, WorkerId};
pub use monitor::Monitor;
pub use probe::{ThreadProbe, current_thread_id};
pub use sight::{Motion, Sight, Sights};
pub use table::Table;
