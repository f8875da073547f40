//! The duties: each a rule that turns what a look saw into deeds.
//!
//! A duty keeps what it must remember from look to look, never reads a clock (it is given `now`)
//! and never sleeps. Where it needs to be called again at a certain time it says so by returning
//! a [`Wish`]; [`Monitor`](crate::Monitor) sleeps no longer than the nearest one.
//!
//! # Example
//!
//! Each duty alone, over a machine that says the same at each look: a task computes, another one waits in a system
//! call that nobody was told of.
//!
//! ```
//! use std::time::Duration;
//! use sysmon::duty::{Collect, GuardWatch, Preempt, Resize, Retake, Scavenge, Trace};
//! use sysmon::{
//!     HeldGuard, KernelState, Limits, Machine, Motion, Pause, Sights, Snapshot, Wake, Worker, WorkerId,
//! };
//!
//! const COMPUTES: WorkerId = WorkerId(1);
//! const BLOCKS: WorkerId = WorkerId(2);
//!
//! /// The time, and what was done.
//! struct Pool(Duration, Vec<&'static str>);
//!
//! impl Machine for Pool {
//!     fn most_workers(&self) -> usize {
//!         2
//!     }
//!     fn snapshot(&mut self, into: &mut Snapshot) {
//!         let (holds, running, tick, slice_age) = (true, true, 1, self.0);
//!         let worker = |id| Worker { id, holds, running, tick, slice_age };
//!         into.workers.extend([COMPUTES, BLOCKS].map(worker));
//!     }
//!     fn cpu_time(&mut self, worker: WorkerId) -> Option<Duration> {
//!         Some(if worker == COMPUTES { self.0 } else { Duration::ZERO })
//!     }
//!     fn kernel_state(&mut self, worker: WorkerId) -> KernelState {
//!         if worker == COMPUTES { KernelState::Runnable } else { KernelState::Sleeping }
//!     }
//!     fn take(&mut self, worker: &Worker) -> bool {
//!         assert_eq!(worker.id, BLOCKS);
//!         true
//!     }
//!     fn request_preempt(&mut self, _: WorkerId) {
//!         self.1.push("request");
//!     }
//!     fn signal(&mut self, _: WorkerId) {
//!         self.1.push("signal");
//!     }
//!     fn since_collection(&mut self) -> Option<Duration> {
//!         Some(self.0)
//!     }
//!     fn collect(&mut self) {
//!         self.1.push("collect");
//!     }
//!     fn oldest_guard(&mut self) -> Option<HeldGuard> {
//!         Some(HeldGuard { id: 7, age: self.0 })
//!     }
//!     fn report_guard(&mut self, _: HeldGuard) {
//!         self.1.push("guard");
//!     }
//!     fn memory_rests(&mut self) -> bool {
//!         true
//!     }
//!     fn scavenge(&mut self) {
//!         self.1.push("scavenge");
//!     }
//!     fn resize(&mut self) {
//!         self.1.push("resize");
//!     }
//!     fn trace(&mut self) {
//!         self.1.push("trace");
//!     }
//!     fn wait(&mut self, _: Pause) -> Wake {
//!         Wake::Stop
//!     }
//! }
//!
//! let second = Duration::from_secs(1);
//! let limits = Limits { trace: Some(second), collect_every: second, ..Limits::DEFAULT };
//! let mut pool = Pool(Duration::ZERO, Vec::new());
//! let (mut snapshot, mut sights) = (Snapshot::with_room(2), Sights::with_room(2));
//! for now in [Duration::ZERO, second] {
//!     pool.0 = now;
//!     snapshot.clear();
//!     pool.snapshot(&mut snapshot);
//!     sights.update(now, &snapshot, &mut pool);
//! }
//! assert_eq!(sights.find(COMPUTES).unwrap().motion, Motion::Ran);
//! assert_eq!(sights.find(BLOCKS).unwrap().motion, Motion::Stood(second));
//! assert_eq!(Retake::new(limits).look(&mut sights, &mut pool), 1);
//!
//! let mut preempt = Preempt::new(limits, 2);
//! preempt.look(second, 1, &sights, &mut pool);
//! // Both slices are over; of the two only one may be interrupted.
//! preempt.look(second, 1, &sights, &mut pool);
//! assert_eq!(pool.1, ["request", "request", "request", "signal"]);
//!
//! pool.1.clear();
//! assert_eq!(Collect::new(limits).look(second, &mut pool), Some(second), "and again then");
//! assert_eq!(GuardWatch::new(limits).look(second, false, &mut pool), None);
//! Scavenge.look(&mut pool);
//! Resize::new(limits).look(second, false, &mut pool);
//! assert_eq!(Trace::new(limits).look(second, &mut pool), Some(second));
//! assert_eq!(pool.1, ["collect", "guard", "scavenge", "resize", "trace"]);
//! ```

mod asleep;
mod collect;
mod guard;
mod preempt;
mod resize;
mod retake;
mod scavenge;
mod trace;

pub use asleep::Asleep;
pub use collect::Collect;
pub use guard::GuardWatch;
pub use preempt::Preempt;
pub use resize::Resize;
pub use retake::Retake;
pub use scavenge::Scavenge;
pub use trace::Trace;

/// The time from now at which a duty has to be called again; `None` when it does not matter.
pub type Wish = Option<std::time::Duration>;
