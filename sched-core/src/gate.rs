//! The gate: who comes in, how many are inside, and the end.
//!
//! One word counts the goroutines that live and says whether new ones are let in. A spawn adds one
//! and looks at what it added to: a closed gate makes it step back. So "closed, and nobody inside"
//! stays true once it is, and whoever finds it may stop the scheduler.

use core::{panic::Location, ptr::NonNull};
use std::time::Instant;

use crate::{
    entry::enter,
    goroutine,
    park::{self, WaitReason},
    proc::Held,
    queue::inject::Lane,
    shared::Shared,
    switch::{push_woken, running},
    sync::{Ordering, fence},
    task::{Run, TaskRef, about::Birth, raw},
    tls,
};

/// The gate is closed: the top bit of its word.
const CLOSED: usize = 1 << (usize::BITS - 1);

impl Shared {
    /// Makes the record of a goroutine and queues it.
    pub(crate) fn launch(
        &self,
        packet: NonNull<raw::Header>,
        origin: &'static Location<'static>,
    ) -> TaskRef {
        self.make(packet, origin, |run, held| {
            match held {
                Some(held) => held.queue().push_next(run, &self.global),
                None => self.global.push(run, Lane::Plain),
            }
            self.notify();
        })
    }

    /// As [`launch`](Self::launch), for one that shall not wait for a slice to end.
    pub(crate) fn launch_urgently(
        &self,
        packet: NonNull<raw::Header>,
        origin: &'static Location<'static>,
    ) -> TaskRef {
        self.make(packet, origin, |run, _| push_woken(self, run))
    }

    /// Makes the record of a goroutine; `queue` puts it where it shall run, inside the runtime.
    fn make(
        &self,
        packet: NonNull<raw::Header>,
        origin: &'static Location<'static>,
        queue: impl FnOnce(Run, Option<Held<'_>>),
    ) -> TaskRef {
        loop {
            let entered = enter();
            let held = entered.machine().filter(|m| m.serves(self)).and_then(|m| m.held());
            let record = match held {
                Some(held) => held.cache(|cache| cache.pop(self)),
                None => self.registry.pop(self),
            };
            let Some(record) = record else {
                drop(entered);
                self.registry.grow(self);
                continue;
            };
            let creator = running(tls::words()).map_or(0, |task| task.about.id());
            let birth = Birth { id: self.registry.fresh_id(), creator, origin };
            // SAFETY: the record is free and ours; the packet is this goroutine's alone.
            let (run, task) = unsafe { Run::start(record, birth, packet) };
            queue(run, held);
            return task;
        }
    }

    /// Lets a goroutine in; false if the gate is closed.
    pub(crate) fn one_more(&self) -> bool {
        // AcqRel: what was done before the spawn comes before the end of the scheduler.
        let open = self.gate.fetch_add(1, Ordering::AcqRel) & CLOSED == 0;
        if !open {
            self.one_less();
        }
        open
    }

    /// Lets a goroutine in as long as others live, though the gate may be closed: it serves them.
    pub(crate) fn one_more_to_serve(&self) -> bool {
        let serves = |gate: usize| (gate != CLOSED).then(|| gate + 1);
        // AcqRel: as in `one_more`. Relaxed: a refusal looks at nothing else.
        self.gate.fetch_update(Ordering::AcqRel, Ordering::Relaxed, serves).is_ok()
    }

    /// A goroutine has ended.
    pub(crate) fn one_less(&self) {
        // AcqRel: all that goroutines did comes before the end of the scheduler.
        let before = self.gate.fetch_sub(1, Ordering::AcqRel);
        if before & CLOSED != 0 {
            self.tell_closer(before & !CLOSED == 1);
        }
    }

    /// The gate is closed and a goroutine has ended; `last`: it was the last.
    #[cold]
    fn tell_closer(&self, last: bool) {
        let closer = self.closer.lock().clone();
        if let Some(closer) = closer {
            closer.unpark();
        }
        // Relaxed: the gate's read-modify-writes order the drop of the last handle.
        if last && self.handles.load(Ordering::Relaxed) == 0 {
            self.stop();
        }
    }

    /// Goroutines that have been let in and have not ended.
    pub(crate) fn living(&self) -> usize {
        // Acquire: pairs with the release in `one_less`.
        self.gate.load(Ordering::Acquire) & !CLOSED
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        // AcqRel: the former state of the gate is seen with what led to it.
        self.gate.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Whether Ms shall end.
    pub(crate) fn stopping(&self) -> bool {
        // Acquire: pairs with the Release in `stop`.
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits until nobody is inside the gate, the caller apart; gives how many are left.
    pub(crate) fn wait_until_empty(&self, limit: Option<Instant>) -> usize {
        let own = goroutine::current_task().is_some_and(|task| core::ptr::eq(task.shared(), self));
        let rest = usize::from(own);
        {
            let _entered = enter();
            *self.closer.lock() = Some(park::current());
        }
        // Whoever ends a goroutine leaves the gate and then takes the closer's lock: either it finds
        // the closer there, or its section came before ours, and the look below sees that it left.
        while self.living() > rest {
            match limit {
                None => park::park(WaitReason::Group),
                Some(at) if Instant::now() >= at => break,
                Some(at) => drop(park::park_until(WaitReason::Group, at)),
            }
        }
        let _entered = enter();
        *self.closer.lock() = None;
        self.living()
    }

    /// Nobody is left: all threads end.
    pub(crate) fn stop(&self) {
        // Release: pairs with the Acquire in `stopping`.
        self.stopping.store(true, Ordering::Release);
        // SeqCst: partner of the fence in `register`.
        fence(Ordering::SeqCst);
        for machine in self.machines() {
            machine.rouse();
        }
        self.service.rouse();
        self.timers.stop();
        self.bell.ring();
    }

    /// The last handle is gone.
    pub(crate) fn abandon(&self) {
        // Read-modify-writes of one word: either the last goroutine left before this and the look
        // sees it, or it leaves after and sees that there is no handle.
        self.close();
        if self.living() == 0 {
            self.stop();
        }
    }
}
