//! A policy that panics, but not in the runtime.

use sched_core::policy::{
    FifoQueues, GlobalFifo, Item, Moment, Policy, Queues, Ready, Seat, Slice,
};

/// The order of [`GlobalFifo`], and when it panics.
#[derive(Debug, PartialEq)]
pub(crate) enum Bomb {
    /// As its queues are made.
    Made,
    /// As they are dropped.
    Dropped,
}

pub(crate) struct BombQueues<H: Item>(FifoQueues<H>);

impl<H: Item> Drop for BombQueues<H> {
    fn drop(&mut self) {
        panic!("the queues go off");
    }
}

impl Policy for Bomb {
    type Queues<H: Item> = BombQueues<H>;

    fn queues<H: Item>(&self) -> BombQueues<H> {
        assert_ne!(*self, Bomb::Made, "the queues cannot be made");
        BombQueues(GlobalFifo.queues())
    }
}

impl<H: Item> Queues<H> for BombQueues<H> {
    type Local = ();

    fn local(&self) {}

    fn put(&self, seat: Option<Seat<'_, ()>>, moment: &Moment, item: H, ready: Ready) {
        self.0.put(seat, moment, item, ready);
    }

    fn pick(&self, seat: Seat<'_, ()>, moment: &Moment) -> Option<(H, Slice)> {
        self.0.pick(seat, moment)
    }

    fn steal<'a>(
        &self,
        seat: Seat<'_, ()>,
        moment: &Moment,
        victims: impl Iterator<Item = &'a ()>,
        last: bool,
    ) -> Option<H> {
        self.0.steal(seat, moment, victims, last)
    }

    fn evict(&self, seat: Seat<'_, ()>) -> Option<H> {
        self.0.evict(seat)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_local_empty((): &()) -> bool {
        true
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn local_len((): &()) -> usize {
        0
    }
}
