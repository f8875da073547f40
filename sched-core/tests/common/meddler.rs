//! A policy that does something of its own.

use core::fmt;

use sched_core::policy::{
    FifoQueues, GlobalFifo, Item, Moment, Policy, Queues, Ready, Seat, Slice,
};

/// What is done beside the work, and when. Nothing, unless it says otherwise.
pub(crate) trait Meddle: Clone + fmt::Debug + Send + Sync + 'static {
    /// As the queues are made.
    fn made(&self) {}

    /// As they are asked to take something.
    fn put(&self) {}

    /// As they are asked who runs next.
    fn pick(&self) {}

    /// As they are dropped.
    fn dropped(&self) {}
}

/// The order of [`GlobalFifo`], and what else is done.
#[derive(Debug)]
pub(crate) struct Meddler<M>(pub(crate) M);

pub(crate) struct MeddlerQueues<M: Meddle, H: Item>(FifoQueues<H>, M);

impl<M: Meddle> Policy for Meddler<M> {
    type Queues<H: Item> = MeddlerQueues<M, H>;

    fn queues<H: Item>(&self) -> MeddlerQueues<M, H> {
        self.0.made();
        MeddlerQueues(GlobalFifo.queues(), self.0.clone())
    }
}

impl<M: Meddle, H: Item> Drop for MeddlerQueues<M, H> {
    fn drop(&mut self) {
        self.1.dropped();
    }
}

impl<M: Meddle, H: Item> Queues<H> for MeddlerQueues<M, H> {
    type Local = ();

    fn local(&self) {}

    fn put(&self, seat: Option<Seat<'_, ()>>, moment: &Moment, item: H, ready: Ready) {
        self.1.put();
        self.0.put(seat, moment, item, ready);
    }

    fn pick(&self, seat: Seat<'_, ()>, moment: &Moment) -> Option<(H, Slice)> {
        self.1.pick();
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
