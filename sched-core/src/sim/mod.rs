//! The simulator: any policy on a thousand Ps, in virtual time.
//!
//! # Problem
//!
//! Which order is fair, and where does one lock stop scaling? This machine has two cores; the answers for 64
//! or 1,024 cannot be measured on it. But a policy sees neither threads nor clocks
//! ([`policy`](crate::policy)), so it can be asked about a machine that does not exist.
//!
//! # What is real and what is not
//!
//! The queues are production code, and so is the protocol of idle Ps and spinners
//! ([`Idle`](crate::idle::Idle)). Goroutines are [`Program`]s: they compute for so many nanoseconds, start others, signal
//! each other, sleep. What things cost is a table ([`Costs`]), measured on a real machine where that was
//! possible; the defaults say how. One step at a time is taken, the earliest first, so a run with
//! the same seed gives the same numbers on any machine.
//!
//! A lock is a server with a queue: whoever takes it waits until all before him have had it, and pays for
//! its cache line if another P had it last. How often a policy takes its locks is counted by the policy's own
//! locks ([`Queues::traffic`](crate::policy::Queues::traffic)). Queues of a single P are charged by the operation: their
//! locks are hardly ever contended.
//!
//! Not modelled: caches beyond that, memory, the operating system's other work, blocking in the kernel; the
//! patience of a thief before runnext (no virtual time passes in it), so pairs are torn apart more often than they would be.
//!
//! ```
//! use sched_core::policy::Gmp;
//! use sched_core::sim::{Costs, Machine, workload};
//!
//! let machine = Machine { procs: 8, seed: 1, costs: Costs::default() };
//! let report = machine.run(&Gmp, &workload::ForkJoin { depth: 10, leaf: 5_000 });
//! assert_eq!(report.jobs, 2_047);
//! assert!(report.makespan < 4 * report.computed / 8, "it scales on eight Ps");
//! assert_eq!(report, machine.run(&Gmp, &workload::ForkJoin { depth: 10, leaf: 5_000 }));
//! ```
//!
//! The example `sim` prints tables and draws pictures: `cargo run --release -p sched-core --example sim -- --help`.

mod job;
mod report;
pub mod svg;
pub mod workload;
mod world;

use crate::policy::Policy;

pub use {
    job::{JobId, Program, Step, View},
    report::{Kind, Report, Waits},
};

/// Nanoseconds that things cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// From one goroutine to the next: `benches/scheduler.rs`, yield.
    pub switch: u64,
    /// To hold a lock of the shared part, per time: half of `benches/scheduler.rs`, global queue.
    pub lock: u64,
    /// To get the cache lines of what another P had last: two threads that take turns at it (`docs/decisions/0016`).
    pub transfer: u64,
    /// To look at another P's part: assumed, between 1 ns at rest (`benches/costs.rs`, look) and a transfer.
    pub look: u64,
    /// For the one who wakes an M: `benches/costs.rs`, wake. A virtual machine is left for it.
    pub wake_call: u64,
    /// Until the M that was woken runs: the same, less the call.
    pub wake: u64,
    /// To interrupt a goroutine by signal: `bench/`, row `preempt`.
    pub preempt: u64,
    /// A slice.
    pub slice: u64,
    /// How much of its slice a goroutine may keep when an urgent one waits.
    pub protected: u64,
}

impl Costs {
    /// Nothing costs anything: with one queue for all, no order could be better for the last one.
    pub const IDEAL: Costs = Costs {
        switch: 0,
        lock: 0,
        transfer: 0,
        look: 0,
        wake_call: 0,
        wake: 0,
        preempt: 0,
        slice: 10_000_000,
        protected: 100_000,
    };
}

impl Default for Costs {
    /// Of the machine that the repository's numbers come from: two virtual processors, AMD EPYC.
    fn default() -> Self {
        Costs {
            switch: 45,
            lock: 11,
            transfer: 90,
            look: 30,
            wake_call: 8_700,
            wake: 14_500,
            preempt: 13_000,
            slice: 10_000_000,
            protected: 100_000,
        }
    }
}

/// A machine that need not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// How many Ps, up to 1,024.
    pub procs: usize,
    /// Where the random numbers begin.
    pub seed: u64,
    /// What things cost on it.
    pub costs: Costs,
}

/// What goroutines do: the first ones, which may start others.
pub trait Workload {
    /// Its name in tables.
    fn name(&self) -> &'static str;

    /// The goroutines that there are at the beginning.
    fn begin(&self, procs: usize) -> Vec<Program>;
}

impl Machine {
    /// Runs `workload` to its end under `policy`.
    ///
    /// # Panics
    ///
    /// If goroutines are left that wait for each other: the workload is wrong; or a goroutine in a
    /// queue that nobody looks for: the policy is.
    pub fn run(&self, policy: &impl Policy, workload: &impl Workload) -> Report {
        world::run(self, policy, workload.begin(self.procs))
    }

    /// The same machine, on which only computing takes time.
    #[must_use]
    pub fn ideal(self) -> Machine {
        Machine { costs: Costs::IDEAL, ..self }
    }
}
