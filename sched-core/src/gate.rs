//! The gate: goroutines come in and go, and the scheduler ends.
//!
//! The counting, and who notices that nobody is left, is the [`turnstile`](crate::turnstile)'s. Here is
//! what hangs on it: records for newcomers, the wait of a shutdown, and the stop of all threads.

use core::{panic::Location, ptr::NonNull};
use std::time::Instant;

use crate::{
    closers::Closer,
    entry::enter,
    goroutine,
    park::{self, WaitReason, Waiter},
    policy::{Cause, Class},
    proc::Held,
    shared::Shared,
    supply::Order,
    switch::running,
    sync::{Ordering, fence},
    task::{Kind, Run, TaskRef, about::Birth, raw},
    tls,
    turnstile::{Left, Turnstile},
};

impl Shared {
    /// Makes the record of a goroutine and queues it. `None`: there is no memory for a record.
    pub(crate) fn launch(
        &self,
        packet: NonNull<raw::Header>,
        kind: Kind,
        origin: &'static Location<'static>,
    ) -> Option<TaskRef> {
        self.make(packet, kind, origin, |run, held| {
            self.put(held, run, Cause::Spawned);
            self.notify();
        })
    }

    /// As [`launch`](Self::launch), for one that shall not wait for a slice to end.
    pub(crate) fn launch_urgently(
        &self,
        packet: NonNull<raw::Header>,
        origin: &'static Location<'static>,
    ) -> Option<TaskRef> {
        let kind = Kind { order: Order::USUAL, class: Class::Urgent };
        self.make(packet, kind, origin, |run, held| self.put_woken(held, run))
    }

    /// Makes the record of a goroutine; `queue` puts it where it shall run, inside the runtime.
    fn make(
        &self,
        packet: NonNull<raw::Header>,
        kind: Kind,
        origin: &'static Location<'static>,
        queue: impl FnOnce(Run, Option<Held<'_>>),
    ) -> Option<TaskRef> {
        loop {
            let entered = enter();
            let held = entered.machine().filter(|m| m.serves(self)).and_then(|m| m.held());
            let fresh = match held {
                Some(held) => held.cache(|cache| {
                    cache.pop(self).map(|record| (record, cache.fresh_id(&self.registry)))
                }),
                None => self.registry.pop(self).map(|record| (record, self.registry.fresh_ids(1))),
            };
            let Some((record, id)) = fresh else {
                drop(entered);
                if !self.registry.grow(self) {
                    return None;
                }
                continue;
            };
            let creator = running(tls::words()).map_or(0, |task| task.about.id());
            let birth = Birth { id, creator, origin };
            // SAFETY: the record is free and ours; the packet is this goroutine's alone.
            let (run, task) = unsafe { Run::start(record, birth, kind, packet) };
            queue(run, held);
            return Some(task);
        }
    }

    /// Lets a goroutine in; false if the gate is closed.
    pub(crate) fn one_more(&self) -> bool {
        self.gate.enter()
    }

    /// One that was let in does not come.
    #[cold]
    pub(crate) fn turn_back(&self) {
        // The closers' lock must not be held by somebody who is preempted.
        let _entered = enter();
        self.one_less();
    }

    /// A goroutine has ended.
    pub(crate) fn one_less(&self) {
        self.see_to(self.gate.leave());
    }

    fn see_to(&self, left: Left<Waiter>) {
        let Left::Shut { closer, end } = left else { return };
        if let Some(closer) = closer {
            closer.unpark();
        }
        if end {
            self.stop();
        }
    }

    /// A handle is gone.
    pub(crate) fn abandon(&self) {
        if self.gate.abandon() {
            self.stop();
        } else if self.gate.is_shut() {
            self.dismiss_carriers();
        }
    }

    /// Whether Ms shall end.
    pub(crate) fn stopping(&self) -> bool {
        // Acquire: pairs with the Release in `stop`.
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits until nobody is inside the gate; a caller who is, until only such callers are. Gives how
    /// many are left.
    pub(crate) fn wait_until_empty(&self, limit: Option<Instant>) -> usize {
        let own = goroutine::current_task().is_some_and(|task| core::ptr::eq(task.shared(), self));
        let closer = Closer::new(park::current(), own);
        let ticket = self.gate_inside(|gate| gate.expect(closer));
        loop {
            self.gate_inside(Turnstile::look).tell(Waiter::unpark);
            if !self.gate_inside(|gate| gate.waits(ticket)) {
                break;
            }
            match limit {
                None => park::park(WaitReason::Group),
                Some(at) if Instant::now() >= at => {
                    self.gate_inside(|gate| gate.forget(ticket)).tell(Waiter::unpark);
                    break;
                }
                Some(at) => drop(park::park_until(WaitReason::Group, at)),
            }
        }
        self.gate.inside()
    }

    /// Does something with the gate inside the runtime: it takes the closers' lock.
    fn gate_inside<R>(&self, f: impl FnOnce(&Turnstile<Waiter>) -> R) -> R {
        let _entered = enter();
        f(&self.gate)
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
        // Not a ring: a monitor that sees the stop before it sleeps has disarmed the bell, and sleeps as long as
        // it meant to, unless it finds a permit.
        self.idle.bell().wake();
    }
}
