//! Rows in which values or a lock go from task to task.

use harness::{Request, process as memory};

use crate::{Scheduler, WORKERS};

/// Values that go through a channel in one pass.
pub const VALUES: usize = 1_000_000;
/// Leaves of the tree of `skynet`.
const LEAVES: usize = 1_000_000;
/// Tasks that want one lock, and how often each takes it.
const LOCKERS: usize = 64;
const LOCKS: usize = 20_000;

/// A peer that can wait for the first of several channels.
pub trait Select: Scheduler {
    /// Four tasks send `values` numbers in all, each over a channel of its own of this capacity (0: a
    /// rendezvous, or 1 where there is none); one receives from whichever is ready. Returns the sum.
    fn select(&self, capacity: usize, values: usize) -> usize;
}

/// The sum of what is sent if `senders` send the numbers from 0 on, `values` in all.
fn sum_of(senders: usize, values: usize) -> usize {
    senders * sum_below(values / senders)
}

fn sum_below(n: usize) -> usize {
    n * (n - 1) / 2
}

pub(crate) fn channel<S: Scheduler>(request: &Request, pairs: usize) {
    let scheduler = S::start(WORKERS);
    let values = request.count(VALUES);
    let time = harness::median_time(request.passes(), || {
        assert_eq!(scheduler.channel(pairs, values), sum_of(pairs, values), "a value was lost");
    });
    request.report_each("per value", time, values);
}

/// Rows of those who can wait for several channels.
pub fn select<S: Select>(request: &Request, capacity: usize) {
    let scheduler = S::start(WORKERS);
    let values = request.count(VALUES / 2);
    let time = harness::median_time(request.passes(), || {
        assert_eq!(scheduler.select(capacity, values), sum_of(4, values), "a value was lost");
    });
    request.report_each("per value", time, values);
}

/// A million tasks in a tree of ten, and the most memory that took.
pub(crate) fn skynet<S: Scheduler>(request: &Request) {
    let scheduler = S::start(WORKERS);
    let leaves = if request.quick { LEAVES / 10 } else { LEAVES };
    let time = harness::median_time(request.passes(), || {
        assert_eq!(scheduler.skynet(leaves), sum_below(leaves), "a task was lost");
    });
    request.report("total", "ms", time.as_secs_f64() * 1e3);
    request.report("peak", "MiB", memory::peak_bytes() as f64 / f64::from(1 << 20));
}

pub(crate) fn mutex<S: Scheduler>(request: &Request, workers: usize) {
    let scheduler = S::start(workers);
    let times = request.count(LOCKS);
    let time = harness::median_time(request.passes(), || {
        assert_eq!(scheduler.locks(LOCKERS, times), LOCKERS * times, "an addition was lost");
    });
    request.report_each("per lock", time, LOCKERS * times);
}
