//! Stacks for goroutines that run for the first time.
//!
//! A goroutine that has not run costs a G record and its closure. It gets a slot (stack, TLS block,
//! context) when an M is about to run it for the first time, and the slot goes back with the commit
//! of its end, when nothing runs on it any more. If the stock is empty the goroutine *starves*: it
//! waits in a list while others run, and the service thread makes more.
//!
//! While stacks cannot be made and somebody starves, a spawn is refused ([`Shared::no_stacks`]): a
//! program that starts goroutines without end learns of it before its memory is full of them.
//!
//! What lies on the shelves of Ps is in nobody's reach but their holders'. So a shelf is cleared when its P
//! goes idle, when a goroutine ends on it while others starve, and when one gives way then; and while
//! no stacks can be made, goroutines are asked to give way ([`Shared::press`]).
//!
//! Nobody starves beside a full stock: a goroutine is put into the list before the service thread is
//! roused, which looks at both after each rousing; and a stack that comes back feeds one at once.

use crate::{
    entry::enter,
    goroutine,
    proc::Held,
    queue::inject::{Lane, List},
    shared::Shared,
    stack::{Slot, StackError},
    sync::Ordering,
    task::Run,
};

impl Shared {
    /// Sees to it that `run` has a stack. `None`: it waits for one.
    pub(crate) fn give_stack(&self, held: Held<'_>, run: Run) -> Option<Run> {
        // SAFETY: the run reference has the G.
        let place = unsafe { run.task().slot() };
        if place.is_some() {
            return Some(run);
        }
        match held.shelf(|shelf| self.slots.take_from(shelf)) {
            Some(mut slot) => {
                // SAFETY: just taken from the stock, for this goroutine.
                unsafe { goroutine::arm(&mut slot, run.task()) };
                *place = Some(slot);
                Some(run)
            }
            None => {
                self.starve(run);
                None
            }
        }
    }

    #[cold]
    fn starve(&self, run: Run) {
        let mut starving = self.starving.lock();
        starving.push(run);
        // Relaxed: written under the lock; a hint elsewhere.
        self.starving_len.store(starving.len(), Ordering::Relaxed);
        drop(starving);
        self.service.rouse();
    }

    /// How many goroutines wait for a stack.
    pub(crate) fn starving(&self) -> usize {
        // Relaxed: a hint; the service thread looks again after each request.
        self.starving_len.load(Ordering::Relaxed)
    }

    /// Why a goroutine that is spawned now would have to wait for a stack, who knows how long.
    #[inline]
    pub(crate) fn no_stacks(&self) -> Option<StackError> {
        if self.starving() == 0 {
            return None;
        }
        let _entered = enter();
        *self.refusal.lock()
    }

    /// Notes how the last attempt to make stacks went.
    pub(crate) fn note_refusal(&self, refusal: Option<StackError>) {
        let _entered = enter();
        *self.refusal.lock() = refusal;
    }

    /// Queues up to `count` of the goroutines that wait for a stack.
    pub(crate) fn feed(&self, count: usize) {
        let fed: List<Run> = {
            let mut starving = self.starving.lock();
            let fed = core::iter::from_fn(|| starving.pop()).take(count).collect();
            // Relaxed: as in `starve`.
            self.starving_len.store(starving.len(), Ordering::Relaxed);
            fed
        };
        if !fed.is_empty() {
            self.global.append(fed, Lane::Plain);
            self.notify();
        }
    }

    /// Takes the stack of a goroutine that has ended.
    pub(crate) fn take_back(&self, held: Option<Held<'_>>, slot: Slot) {
        match held {
            Some(held) => held.shelf(|shelf| self.slots.give_to(shelf, slot)),
            None => self.slots.give(slot),
        }
        if !self.mode.is_own_tls() {
            self.service.rouse();
        }
        self.share(held);
    }

    /// If goroutines starve: gives what is on the caller's shelf to the stock, and from there to them.
    #[inline]
    pub(crate) fn share(&self, held: Option<Held<'_>>) {
        if self.starving() != 0 {
            if let Some(held) = held {
                self.clear_shelf(held);
            }
            self.feed(self.slots.stock());
        }
    }

    /// Puts what is on the shelf back into the stock.
    pub(crate) fn clear_shelf(&self, held: Held<'_>) {
        held.shelf(|shelf| self.slots.clear(shelf));
    }

    /// Goroutines starve, and no stacks can be made.
    pub(crate) fn short_of_stacks(&self) -> bool {
        self.no_stacks().is_some()
    }
}
