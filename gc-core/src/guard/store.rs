//! Stores into objects, with the barrier.
//!
//! A store is tried as what it is while no cycle runs: a few instructions, in which nothing is called.
//! Whoever writes to objects at random places waits for memory, and a processor that has few
//! instructions before it asks for the next place meanwhile.
//!
//! A store that finds no room in the log, no memory for more and none in reserve marks what it takes out.

use super::Guard;
use crate::{
    engine::{Link, Slot},
    heap::Tag,
    mark::Overflow,
    phase::Phase,
    trace::Tracer,
};

impl<H: Tag> Guard<'_, H> {
    /// Logs the edges that `trace` reports, of an interior that the caller has taken while the barrier was on. Half of
    /// them are no use to anybody, and the cycle waits for all: without memory they are marked, and the driver looks
    /// into them.
    pub(crate) fn log_all(&self, trace: impl FnOnce(&mut Tracer)) {
        let (core, mut tracer) = (self.core, Tracer::default());
        // What is marked below is told of at the end, and others see it marked before. Marking does not end meanwhile:
        // it needs another round after this, which sees that the report counts. If it is over, all that the
        // interior leads to is marked.
        if core.engine.phase.set_dirty().phase() == Phase::Off {
            return;
        }
        // SAFETY: it is taken away below, and edges lead to objects that the guard keeps.
        tracer.attach(unsafe { Overflow::into(&core.engine.space) });
        trace(&mut tracer);
        let mut overflow = tracer.detach().expect("attached above");
        while let Some(cell) = tracer.pop() {
            // SAFETY: the guard keeps what the caller found.
            while core.operate(|operation| unsafe { core.engine.log(operation, cell) }).is_err() {
                if !core.extend_log() {
                    overflow.mark(cell);
                    break;
                }
            }
        }
        if overflow.counts().is_some() {
            core.engine.phase.set_overflowed();
        }
    }

    pub(crate) fn upgrade(&self, slot: &Slot) -> Link {
        self.retry(
            // SAFETY: the guard is held, and slots of weak objects are registered.
            |engine, operation| unsafe { engine.upgrade(operation, slot) },
            // SAFETY: as above.
            |engine, operation| unsafe { engine.upgrade_unlogged(operation, slot) },
        )
    }

    /// With the hybrid barrier: logs what is about to be put into a slot. An operation of its own, for
    /// the deletion barrier needs none of it.
    fn log_new(&self, new: Link) {
        let Some(new) = new.filter(|_| self.core.engine.phase.read().logs_new()) else { return };
        self.retry(
            // SAFETY: the guard is held, and `new` lives for a lifetime that covers the call.
            |engine, operation| unsafe { engine.log(operation, new) },
            // SAFETY: as above.
            |engine, operation| unsafe { engine.mark_unlogged(operation, new) },
        );
    }

    #[inline]
    pub(crate) fn store(&self, slot: &Slot, new: Link) {
        // SAFETY: the guard is held, and `new` lives for a lifetime that covers the call.
        let done =
            self.quickly(|engine, operation| unsafe { engine.store_off(operation, slot, new) });
        if done.is_none() {
            self.store_slow(slot, new);
        }
    }

    #[inline(never)]
    fn store_slow(&self, slot: &Slot, new: Link) {
        self.log_new(new);
        self.retry(
            // SAFETY: as in `store`.
            |engine, operation| unsafe { engine.store(operation, slot, new) },
            |engine, operation| {
                // SAFETY: as in `store`.
                unsafe { engine.swap_unlogged(operation, slot, new) };
            },
        );
    }

    #[inline]
    pub(crate) fn swap(&self, slot: &Slot, new: Link) -> Link {
        // SAFETY: as in `store`.
        self.quickly(|engine, operation| unsafe { engine.swap_off(operation, slot, new) })
            .unwrap_or_else(|| self.swap_slow(slot, new))
    }

    #[inline(never)]
    fn swap_slow(&self, slot: &Slot, new: Link) -> Link {
        self.log_new(new);
        self.retry(
            // SAFETY: as in `store`.
            |engine, operation| unsafe { engine.swap(operation, slot, new) },
            // SAFETY: as in `store`.
            |engine, operation| unsafe { engine.swap_unlogged(operation, slot, new) },
        )
    }

    #[inline]
    pub(crate) fn compare_exchange(
        &self,
        slot: &Slot,
        current: Link,
        new: Link,
    ) -> Result<Link, Link> {
        // SAFETY: as in `store`.
        self.quickly(|engine, me| unsafe { engine.compare_exchange_off(me, slot, current, new) })
            .unwrap_or_else(|| self.compare_exchange_slow(slot, current, new))
    }

    #[inline(never)]
    fn compare_exchange_slow(&self, slot: &Slot, current: Link, new: Link) -> Result<Link, Link> {
        self.log_new(new);
        self.retry(
            // SAFETY: as in `store`.
            |engine, me| unsafe { engine.compare_exchange(me, slot, current, new) },
            // SAFETY: as in `store`.
            |engine, me| unsafe { engine.compare_exchange_unlogged(me, slot, current, new) },
        )
    }
}
