//! First come, first served: one queue for all.
//!
//! No P has anything of its own, so there is nothing to steal, and what runs next is what has waited
//! longest, whatever made it ready. That is the fairest of all orders and the easiest to think about:
//! take it to find out whether a fault depends on the order, or as the measure of others' waits.
//! Each goroutine passes through one lock twice, and its data is cold wherever it goes: past some Ps
//! it does not scale (`docs/decisions/0016`).
//!
//! A sleeper whose time has come waits behind all that were ready before it, slices included.

use crate::queue::{inject::Inject, lanes::Lane};

use super::{Item, Moment, Policy, Queues, Ready, Seat, Slice};

/// First come, first served. See the [module](super).
///
/// ```
/// use sched_core::{Config, NoHooks, Scheduler, policy::{Chosen, GlobalFifo}};
/// # use std::sync::{Arc, Mutex};
/// let config = Config { procs: 1, policy: Chosen::new(GlobalFifo), ..Config::default() };
/// let scheduler = Scheduler::new(config, Arc::new(NoHooks))?;
/// let order = Arc::new(Mutex::new(Vec::new()));
/// let ran = order.clone();
/// scheduler.spawn(move || {
///     let jobs: Vec<_> = (0..3)
///         .map(|n| {
///             let ran = ran.clone();
///             sched_core::spawn(move || ran.lock().unwrap().push(n)).unwrap().unwrap()
///         })
///         .collect();
///     jobs.into_iter().for_each(|job| job.join().unwrap());
/// })?.join().unwrap();
/// assert_eq!(*order.lock().unwrap(), [0, 1, 2]); // Go's would run the newest first
/// # scheduler.shutdown(None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GlobalFifo;

impl Policy for GlobalFifo {
    type Queues<H: Item> = FifoQueues<H>;

    fn queues<H: Item>(&self) -> FifoQueues<H> {
        FifoQueues { queue: Inject::new() }
    }
}

/// The one queue.
#[derive(Debug)]
pub struct FifoQueues<H: Item> {
    queue: Inject<H>,
}

impl<H: Item> Queues<H> for FifoQueues<H> {
    type Local = ();

    fn local(&self) {}

    fn put(&self, _: Option<Seat<'_, ()>>, _: &Moment, item: H, _: Ready) {
        self.queue.push(item, Lane::Plain);
    }

    fn pick(&self, _: Seat<'_, ()>, _: &Moment) -> Option<(H, Slice)> {
        Some((self.queue.pop(false)?, Slice::Fresh))
    }

    fn steal<'a>(
        &self,
        _: Seat<'_, ()>,
        _: &Moment,
        _: impl Iterator<Item = &'a ()>,
        _: bool,
    ) -> Option<H> {
        None
    }

    fn evict(&self, _: Seat<'_, ()>) -> Option<H> {
        None
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn is_local_empty(_: &()) -> bool {
        true
    }

    fn len(&self) -> usize {
        self.queue.len()
    }

    fn local_len(_: &()) -> usize {
        0
    }

    fn traffic(&self, see: &mut dyn FnMut(u64)) {
        see(self.queue.visits());
    }
}
