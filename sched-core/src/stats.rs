//! Counters: what the scheduler did.
//!
//! Each M counts for itself in plain relaxed words that only the thread in its role writes, so
//! counting costs a load and a store on a line that is already there. [`Stats`] is their sum, read
//! while others run: each counter is exact once the scheduler is at rest, and never runs backwards
//! before.

use core::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds one. Only the counter's owner calls this.
    #[inline]
    pub(crate) fn bump(&self) {
        // Relaxed: one writer, and readers want a number, not an order.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Adds one where several threads count.
    pub(crate) fn bump_shared(&self) {
        // Relaxed: a number, not an order.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number so far.
    pub(crate) fn get(&self) -> u64 {
        // Relaxed: a number, not an order.
        self.0.load(Ordering::Relaxed)
    }
}

/// What one M counted.
#[derive(Debug, Default)]
pub(crate) struct MachineCounters {
    /// Goroutines that ended while this M ran them.
    pub(crate) finished: Counter,
    /// Futures that were spawned on this M, and those that ended there.
    pub(crate) futures_made: Counter,
    pub(crate) futures: Counter,
    /// Futures of the scheduler's own that ended on this M, and what was left of others that was freed here.
    pub(crate) relays: Counter,
    /// Goroutines stolen by this M from another P.
    pub(crate) steals: Counter,
    /// Naps of this M beside Ps that hand goroutines to and fro.
    pub(crate) naps: Counter,
    /// Goroutines that gave way because they were asked to.
    pub(crate) preemptions: Counter,
    /// Goroutines that gave way where they stood, on a thread that slept with them.
    pub(crate) stays: Counter,
    /// Goroutines that let others run first.
    pub(crate) yields: Counter,
    /// Goroutines that parked.
    pub(crate) parks: Counter,
    /// Goroutines that came back without a P, found none idle and went to the queue.
    pub(crate) displaced: Counter,
    /// Requests by whose answer a goroutine showed that it gets on; see [`despair`](crate::despair).
    pub(crate) signs: Counter,
    /// Switches from context to context.
    pub(crate) switches: Counter,
}

/// What any thread counts.
#[derive(Debug, Default)]
pub(crate) struct SharedCounters {
    /// Futures that were spawned elsewhere.
    pub(crate) futures_made: Counter,
    /// Ps taken from goroutines in user code.
    pub(crate) handoffs: Counter,
    /// Goroutines that were interrupted in the kernel because a P waited for a thread.
    pub(crate) escapes: Counter,
    /// Threads the operating system refused.
    pub(crate) thread_errors: Counter,
    /// Batches of stacks that could not be prepared.
    pub(crate) stack_errors: Counter,
}

/// Sums of all counters of a scheduler; see [`Scheduler::stats`](crate::Scheduler::stats).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Goroutines and futures created, carriers and futures of the scheduler's own included.
    pub created: u64,
    /// Goroutines that ran to their end, carriers included.
    pub finished: u64,
    /// Futures that came to their end, or were cancelled.
    pub futures: u64,
    /// OS threads in the role of an M, now.
    pub threads: u64,
    /// Goroutines taken from another P's queue.
    pub steals: u64,
    /// Naps of Ms that found nothing to run, but Ps whose goroutines wake each other in turn.
    pub naps: u64,
    /// Ps taken from goroutines that were blocked, or gave theirs away.
    pub handoffs: u64,
    /// Times that a goroutine was interrupted in the kernel because others had waited too long for a thread.
    pub escapes: u64,
    /// Goroutines that gave way because they were asked to.
    pub preemptions: u64,
    /// Of these, those that kept their thread and slept in the signal's handler.
    pub stays: u64,
    /// Times that a goroutine offered to let others run first.
    pub yields: u64,
    /// Times that a goroutine parked.
    pub parks: u64,
    /// Times that a goroutine came back without a P and had to queue for one.
    pub displaced: u64,
    /// Switches from one context to another.
    pub switches: u64,
    /// Threads the operating system refused.
    pub thread_errors: u64,
    /// Batches of stacks that could not be prepared.
    pub stack_errors: u64,
}

impl Stats {
    /// Adds what one M counted.
    pub(crate) fn add(&mut self, machine: &MachineCounters) {
        self.threads += 1;
        self.finished += machine.finished.get();
        self.futures += machine.futures.get();
        self.steals += machine.steals.get();
        self.naps += machine.naps.get();
        self.preemptions += machine.preemptions.get();
        self.stays += machine.stays.get();
        self.yields += machine.yields.get();
        self.parks += machine.parks.get();
        self.displaced += machine.displaced.get();
        self.switches += machine.switches.get();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_are_the_sum_over_machines() {
        let (a, b) = (MachineCounters::default(), MachineCounters::default());
        a.steals.bump();
        b.steals.bump();
        b.parks.bump();
        let mut sum = Stats::default();
        sum.add(&a);
        sum.add(&b);
        assert_eq!((sum.threads, sum.steals, sum.parks), (2, 2, 1));
    }
}
